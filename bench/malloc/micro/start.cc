// The first allocation of a process: a program that allocates once is started and ends. What it costs beyond the
// smallest of the allocators compared is theirs: mapping, tables, constructors.
#include <benchmark/benchmark.h>

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

extern char** environ;

namespace {

// `first` beside this program, linked as it is: micro-NAME goes with first-NAME.
std::string first_program() {
  char path[4096];
  const ssize_t length = readlink("/proc/self/exe", path, sizeof path);
  std::string self(path, length > 0 ? static_cast<size_t>(length) : 0);
  const size_t slash = self.rfind('/');
  const std::string name = self.substr(slash + 1);
  return self.substr(0, slash + 1) + "first" + (name.starts_with("micro") ? name.substr(5) : "");
}

void first_allocation(benchmark::State& state) {
  std::string program = first_program();
  char* arguments[] = {program.data(), nullptr};
  for (auto _ : state) {
    pid_t child = 0;
    int status = 0;
    const bool started = posix_spawn(&child, program.c_str(), nullptr, nullptr, arguments, environ) == 0;
    if (!started || waitpid(child, &status, 0) != child || status != 0) {
      state.SkipWithError("the program did not run");
      break;
    }
  }
}
BENCHMARK(first_allocation)->Iterations(200)->UseRealTime();

}  // namespace
