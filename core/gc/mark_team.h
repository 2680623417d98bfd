// The threads that mark: the one that leads the cycle, and helpers that wait for it to call them.
#pragma once

#include "platform/own_thread.h"

namespace gcm {

class MarkTeam {
 public:
  static constexpr unsigned kMost = 16;  // one more than members, the leader included

  // Makes up to `helpers` threads; fewer when the system grants no more. By the leader.
  void Start(unsigned helpers);
  void Stop();
  unsigned members() const { return helpers_ + 1; }

  // Runs job(data, member) in `members` threads side by side, the caller as member 0; returns when
  // all are done.
  void Run(void (*job)(void* data, unsigned member), void* data, unsigned members);
  // Wakes the helpers: a call comes soon, and they look out for it.
  void Alert();
  // In a forked child: there are no helpers.
  void AfterForkInChild();

 private:
  struct Helper {
    MarkTeam* team;
    unsigned member;
    uint32_t seen;  // the last call
    Range memory;
    OwnThread thread;
  };
  static void Help(void* helper);
  void SpreadOut();

  Helper helper_[kMost - 2] = {};
  unsigned helpers_ = 0;
  int leaders_ = -1;               // the processor that helpers stay off
  std::atomic<uint32_t> call_{0};  // a number times kMost, and who is called: the first so many
  std::atomic<uint32_t> busy_{0};
  std::atomic<bool> ending_{false};
  void (*job_)(void*, unsigned) = nullptr;
  void* data_ = nullptr;
};

}  // namespace gcm
