#include "platform/process.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>

#include "platform/syscall.h"
#include "tests/unit/support.h"

namespace gcm {
namespace {

bool MayRunOn(int processor) {
  cpu_set_t mask;
  return sched_getaffinity(0, sizeof(mask), &mask) == 0 && CPU_ISSET(processor, &mask);
}

TEST(Process, AThreadIsKeptOffOneProcessorOnly) {
  if (process::Processors() < 2) GTEST_SKIP() << "there is only one";
  auto keeps_off = [] {
    const int here = process::Processor();
    if (here < 0 || !MayRunOn(here)) return false;
    const unsigned before = process::Processors();
    process::KeepOff(process::ThreadId(), here);
    return !MayRunOn(here) && process::Processors() == before - 1 && process::Processor() != here;
  };
  EXPECT_EQ(test::OutcomeInChild(keeps_off, 10), "ok");
}

TEST(Process, AThreadStaysWhereThereIsNoOther) {
  auto stays = [] {
    const int here = process::Processor();
    cpu_set_t mask;
    CPU_ZERO(&mask);
    CPU_SET(here, &mask);
    if (sched_setaffinity(0, sizeof(mask), &mask) != 0) return false;
    process::KeepOff(process::ThreadId(), here);
    process::KeepOff(process::ThreadId(), -1);
    process::KeepOff(process::ThreadId(), 1 << 20);
    return MayRunOn(here) && process::Processors() == 1;
  };
  EXPECT_EQ(test::OutcomeInChild(stays, 10), "ok");
}

// As systemd's services without @resources.
TEST(Process, NobodyIsKeptOffWhereAFilterMayKill) {
  auto survives = [] {
    sock_filter kills[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sched_setaffinity, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    sock_fprog program{sizeof(kills) / sizeof(kills[0]), kills};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return false;
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) return false;
    process::KeepOff(process::ThreadId(), process::Processor());
    return true;
  };
  EXPECT_EQ(test::OutcomeInChild(survives, 10), "ok");
}

}  // namespace
}  // namespace gcm
