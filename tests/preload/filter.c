// A program that installs a filter of system calls, which kills it for every openat.
//
// Law: prints `done`; argument `prctl` or `syscall` says by which call the filter is installed.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv) {
  struct sock_filter code[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof code / sizeof code[0], code};
  if (argc < 2 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return 3;
  const long result = strcmp(argv[1], "prctl") == 0
                          ? prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)
                          : syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
  if (result != 0) return 3;
  void *volatile p;
  for (int i = 0; i < 20000; ++i) p = malloc(40);
  (void)p;
  puts("done");
  return 0;
}
