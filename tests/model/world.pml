/* Stopping the world and starting it again: core/gc/world.cc, thread_table.h (Claim, Expect), heap/blocked_state.h,
 * gc/blocking.cc (RunPublished, LeaveHeld), Unstoppable in heap/thread_cache.h.
 *
 * Law: while the stopper believes that the world is stopped no thread touches the heap, and nobody holds a lock of the
 * heap. A handler writes into its record only in the stop that waits for it. When the stopper is done everybody has
 * gone on and ended: nobody waits for ever, and unless GIVEUP allows the stopper to lose its patience, each stop
 * succeeds.
 *
 * A thread's handler is a process of its own, while which the thread stands still (`inside`). Threads write, run
 * sections with the heap's lock (SECTIONS), wait in the kernel with their state published (CALLS), perhaps until the
 * end, perhaps with all signals blocked; thread 0 starts thread 1, and threads end (BIRTHS; ALONE: there is none).
 * Times are not modelled: the stopper looks for late publishers and loses patience at any moment. Left out: threads
 * that share thread-local storage, vfork, signals that are refused or lost.
 *
 * LATE: a stop that loses its patience has its signals heard later; the thread waits for the next stop (AwaitNextStop).
 * Broken: LATE_INSIDE: inside of a section, too. NO_CLAIM: handlers write without claiming their record. KEEP: who
 * gives up leaves the records to be claimed. ONCE: threads are enumerated once. NO_DEFER: the handler stops a thread inside of a section. NO_PARK: a section's end
 * does not look for a stop. NO_CHECK: a call returns without asking whether its thread is held. NO_LATE: who publishes
 * after the walk is not held. UNCLAIMED: a late publisher is held without claiming its record.
 * VARY: whether threads may be held (stop_signal::OnlyHandler) differs from stop to stop. Then LeaveHeld as it is lets
 * a stop fail: it finds itself held, then loads the epoch, which may be of a later stop already, and waits for that
 * with all signals blocked. With EPOCH_FIRST, loaded before it looks, each stop succeeds.
 */
#define THREADS 2
#ifndef STOPS
#define STOPS 2
#endif

byte epoch = 0;                /* odd: the world is to be stopped */
bool stopped = false;          /* what the stopper believes */
bool over = false, heap_lock = false, born = false;

/* A thread: exists; a signal is pending; all are blocked; its handler runs; in a section; to park behind it. */
bool alive[THREADS], signal[THREADS], blocked[THREADS], inside[THREADS], section[THREADS], park[THREADS];
bool entered[THREADS], held[THREADS]; /* BlockedState */
/* Its record: is found; waits for the stop of an epoch; stopped in one; is a held thread's. */
bool known[THREADS], holds[THREADS];
byte expected[THREADS], stopped_at[THREADS];

/* A step of the thread itself. */
#define STEP(condition) atomic { !inside[me] && (condition) }
#define DO(action) atomic { !inside[me] -> action }

/* WaitOut: with all signals blocked. */
inline WaitOut(e) {
  if
  :: known[me] ->
#ifdef NO_CLAIM
     atomic { expected[me] = 0; assert(epoch == e) };
#else
     if
     :: atomic { expected[me] == e -> expected[me] = 0 }; assert(epoch == e);
#endif
        atomic { assert(epoch == e); stopped_at[me] = e };
        epoch != e
#ifndef NO_CLAIM
     :: else
     fi
#endif
  :: else
  fi
}

/* LATE: who hears of a stop that is over stays in the handler for the next one, or for a while. */
#ifdef LATE_INSIDE
#define MAY_AWAIT (true)
#else
#define MAY_AWAIT (!section[me])
#endif
inline AwaitNextStop(e) {
  if
  :: true
  :: atomic { epoch != e -> e = epoch };
     do
     :: (e & 1) != 0 && epoch == e -> WaitOut(e) /* its record may not be there yet */
     :: break
     od
  fi
}

proctype Handler(byte me) {
  byte e;
end:
  do
  :: atomic { signal[me] && !blocked[me] && !inside[me] && alive[me] -> signal[me] = false; inside[me] = true };
     e = epoch;
     if
#ifdef LATE
     :: (e & 1) == 0 && MAY_AWAIT -> AwaitNextStop(e)
     :: (e & 1) == 0 && !MAY_AWAIT
#else
     :: (e & 1) == 0
#endif
#ifndef NO_DEFER
     :: (e & 1) != 0 && section[me] -> park[me] = true
     :: (e & 1) != 0 && !section[me] -> WaitOut(e)
#else
     :: (e & 1) != 0 -> WaitOut(e)
#endif
     fi;
     atomic { e = 0; inside[me] = false }
  od
}

inline Write() { DO(assert(!stopped)) }

inline Section() {
  DO(section[me] = true);
  DO(!heap_lock -> heap_lock = true);
  DO(assert(!stopped); heap_lock = false);
  DO(section[me] = false);
#ifndef NO_PARK
  if
  :: atomic { !inside[me] && park[me] -> park[me] = false };
     DO(blocked[me] = true);
     e = epoch;
     if :: (e & 1) != 0 -> WaitOut(e) :: else fi;
     atomic { e = 0; blocked[me] = false }
  :: atomic { !inside[me] && !park[me] }
  fi
#endif
}

/* Run: a `deaf` thread has blocked all signals by a system call of its own. */
inline Call() {
#ifndef VARY
  if :: DO(blocked[me] = true); deaf = true :: true fi;
#endif
  DO(entered[me] = true);
  if :: true :: true -> over fi; /* in the kernel, perhaps for good */
#ifdef NO_CHECK
  DO(entered[me] = false);
#else
  if
  :: atomic { !inside[me] && !held[me] -> entered[me] = false }
  :: atomic { !inside[me] && held[me] -> blocked[me] = true };
     do
#ifndef EPOCH_FIRST
     :: atomic { !held[me] -> entered[me] = false; break }
#endif
#ifdef EPOCH_FIRST
     :: e = epoch;
        if :: atomic { !held[me] -> entered[me] = false; break } :: held[me] fi;
#else
     :: held[me] -> e = epoch; /* AwaitStart */
#endif
        if :: (e & 1) != 0 -> epoch != e :: else fi;
        e = 0
     od;
     if :: !deaf -> blocked[me] = false :: else fi
  fi;
#endif
  if :: deaf -> DO(blocked[me] = false; deaf = false) :: else fi
}

proctype Thread(byte me) {
  byte e;
  bool deaf = false;
  do
  :: Write()
#ifdef SECTIONS
  :: Section()
#endif
#ifdef CALLS
  :: Call()
#endif
#ifdef BIRTHS
  :: atomic { !inside[me] && me == 0 && !born -> born = true; alive[1] = true; run Thread(1); run Handler(1) }
  :: DO(break)
#endif
  :: true -> STEP(over); break /* computes, and touches nothing, until the end */
  od;
  atomic { !inside[me] -> alive[me] = false }
}

/* The stopper. */
#define EACH(body) i = 0; do :: i < THREADS -> body; i++ :: else -> i = 0; break od
#define FOR_ALL(condition) ((condition(0)) && (condition(1)))
#define IS_STOPPED(i) (!known[i] || stopped_at[i] == epoch)

inline HoldPublished() {
  EACH(if
       :: atomic { alive[i] && entered[i] -> held[i] = true; holds[i] = true; known[i] = true; expected[i] = 0;
                   stopped_at[i] = epoch }
       :: else
       fi)
}

inline StopNewThreads() {
  found_new = false;
  EACH(if
       :: atomic { alive[i] && !known[i] -> found_new = true; fresh[i] = true; expected[i] = epoch; stopped_at[i] = 0 }
       :: else
       fi);
  EACH(if
       :: atomic { fresh[i] -> fresh[i] = false; known[i] = true };
          if :: atomic { alive[i] -> signal[i] = true } :: else -> NoteGone(i) fi
       :: else
       fi)
}

/* Whoever claims acts: false, if the handler has, and then it is waited for. */
inline Unclaim(i) {
  if
  :: atomic { expected[i] == epoch -> expected[i] = 0; mine = true }
  :: atomic { expected[i] != epoch -> mine = false }; stopped_at[i] == epoch
  fi
}
inline NoteGone(i) {
  Unclaim(i);
  if :: mine -> stopped_at[i] = epoch :: else fi
}
#define MAY_HOLD_LATE(i) (known[i] && stopped_at[i] != epoch && alive[i] && entered[i] && !held[i])
inline HoldLate(i) {
#ifdef UNCLAIMED
  atomic { holds[i] = true; stopped_at[i] = epoch }
#else
  Unclaim(i);
  if
  :: mine -> atomic { holds[i] = true; stopped_at[i] = epoch }
  :: else -> held[i] = false
  fi
#endif
}

inline AwaitStopped() {
  do
  :: FOR_ALL(IS_STOPPED) -> break
#ifndef NO_LATE
  :: atomic { may_hold && MAY_HOLD_LATE(0) -> held[0] = true }; HoldLate(0)
  :: atomic { may_hold && MAY_HOLD_LATE(1) -> held[1] = true }; HoldLate(1)
#endif
  :: known[0] && stopped_at[0] != epoch && !alive[0] -> NoteGone(0)
  :: known[1] && stopped_at[1] != epoch && !alive[1] -> NoteGone(1)
#ifdef GIVEUP
  :: failed = true; break
#endif
  od
}

inline GiveUp() {
  EACH(if :: known[i] && stopped_at[i] != epoch -> Unclaim(i) :: else fi)
}

inline Start() {
  EACH(if :: holds[i] -> held[i] = false; holds[i] = false :: else fi);
  epoch++
}

active proctype Stopper() {
  byte i, stops = 0;
  bool found_new, mine, may_hold, failed, fresh[THREADS];
  atomic {
    alive[0] = true; run Thread(0); run Handler(0);
#if !defined(BIRTHS) && !defined(ALONE)
    alive[1] = true; run Thread(1); run Handler(1)
#endif
  };
  do
  :: stops < STOPS ->
     d_step { EACH(known[i] = false); epoch++; failed = false };
#ifdef CALLS
#ifdef VARY
     if :: may_hold = true :: may_hold = false fi;
#else
     may_hold = true;
#endif
     if :: may_hold -> HoldPublished() :: else fi;
#endif
     do
     :: StopNewThreads();
        AwaitStopped();
#ifdef ONCE
        break
#else
        if :: failed || !found_new -> break :: else fi
#endif
     od;
     if
     :: failed ->
#ifndef KEEP
        GiveUp()
#endif
     :: else -> stopped = true; assert(!heap_lock); stopped = false
     fi;
     Start();
     stops++
  :: else -> break
  od;
  over = true
}
