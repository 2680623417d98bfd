/* Sweeping while the program allocates: the free, remote and mark bits of spans (core/heap/span.h), the caches' lists
 * and refills (core/heap/thread_cache.cc: Refill, Collect), and the sweep of a cycle that runs behind its final stop.
 *
 * Law: no slot is freed that the program holds, whether it was allocated before the final stop or after, or by a
 * thread that was stopped in the middle of malloc; no slot is handed out twice.
 *
 * The final stop finds the thread outside of sections. What the program holds is marked, and so is each slot of the
 * current span that is free or that others have freed: what is allocated from it then is black, without malloc asking
 * for a phase. The thread refills under its cache's lock: before a span becomes current it is swept, unless it was in
 * this cycle, which its `swept` number says; new spans are born with the number of the cycle. The sweeper takes the
 * lock of the span's owner, looks again who owns it and whether it was swept meanwhile, and gives garbage back through
 * the remote bits, since the owner writes the free bits without a lock.
 * Spans of two slots: CURRENT, and OTHER: on the thread's list, or nobody's, or not there at first.
 *
 * Broken: WHITE: free slots of current spans are not marked. REMOTE_WHITE: those that others have freed, and the owner
 * has not folded yet, are not: a refill folds them and hands them out before the span is swept. UNSWEPT: a span becomes
 * current without being swept. STALE: a new span is born without the number, with the marks of its pages' former life.
 * NO_LOCK: the sweeper takes none. NO_LOOK: it does not look again who owns the span. NUMBER_FIRST: the number is set
 * before the lock is taken. INTO_FREE: the sweeper writes the free bits.
 */
#define CURRENT 0
#define OTHER 1
#define SPANS 2
#define NONE 255
#define ALL 3 /* the slots of a span */

#ifndef CYCLES
#define CYCLES 1
#endif

#define MINE 0
#define NOBODY 1

byte free[SPANS], remote[SPANS], mark[SPANS], held[SPANS];
byte owner[SPANS], swept[SPANS];
bool in_use[SPANS];
byte current = CURRENT, cycle = 0;
bool lock[2] = false; /* of the cache; of the central list */
bool section = false, over = false, begun = false;

#define GARBAGE(s) (ALL & ~free[s] & ~mark[s] & ~remote[s])

/* By who has the lock of the span's owner, and owns it: folds, then sweeps into the free bits. */
inline SweepOwn(s) {
  if
  :: swept[s] != cycle ->
     assert((GARBAGE(s) & held[s]) == 0);
     free[s] = free[s] | GARBAGE(s);
     swept[s] = cycle
  :: else
  fi
}
inline Fold(s) { atomic { free[s] = free[s] | remote[s]; remote[s] = 0 } }

inline Take(s) {
  Fold(s);
#ifndef UNSWEPT
  SweepOwn(s);
#endif
  if :: free[s] != 0 -> current = s :: else fi
}

inline Refill() {
  section = true;
  atomic { !lock[MINE] -> lock[MINE] = true };
  if :: current != NONE -> Fold(current); if :: free[current] == 0 -> current = NONE :: else fi :: else fi;
  if
  :: current == NONE ->
     if
     :: Take(CURRENT) /* it may have been freed into */
     :: in_use[OTHER] && owner[OTHER] == MINE -> Take(OTHER)
     :: in_use[OTHER] && owner[OTHER] == NOBODY ->
        atomic { !lock[NOBODY] -> lock[NOBODY] = true };
        owner[OTHER] = MINE;
        lock[NOBODY] = false;
        Take(OTHER)
     :: !in_use[OTHER] ->
        atomic {
          free[OTHER] = ALL; in_use[OTHER] = true; owner[OTHER] = MINE; current = OTHER;
#ifndef STALE
          swept[OTHER] = cycle
#endif
        }
     fi
  :: else
  fi;
  lock[MINE] = false;
  section = false
}

#define CHOOSE(s, b) :: held[s] & b -> span = s; one = b

active proctype Thread() {
  byte bits, one, span;
  begun;
  do
  :: current != NONE && free[current] != 0 -> /* malloc: the address first, then the bit */
     bits = free[current];
     atomic {
       one = (bits & 1 -> 1 : 2);
       assert((held[current] & one) == 0);
       free[current] = bits & ~one; held[current] = held[current] | one;
       bits = 0; one = 0
     }
  :: current == NONE || free[current] == 0 -> Refill()
  :: atomic { if CHOOSE(CURRENT, 1) CHOOSE(CURRENT, 2) CHOOSE(OTHER, 1) CHOOSE(OTHER, 2) fi };
     if
     :: atomic { held[span] = held[span] & ~one } /* forgotten */
     :: owner[span] == MINE -> bits = free[span]; atomic { free[span] = bits | one; held[span] = held[span] & ~one }
     :: owner[span] == NOBODY -> atomic { remote[span] = remote[span] | one; held[span] = held[span] & ~one }
     fi;
     atomic { bits = 0; one = 0; span = 0 }
  :: over -> break
  od
}

inline FinalStop() {
  atomic {
    !section;
    cycle++;
    s = 0;
    do
    :: s < SPANS ->
       mark[s] = held[s];
       if
#ifdef REMOTE_WHITE
       :: s == current -> mark[s] = mark[s] | free[s]
#elif !defined(WHITE)
       :: s == current -> mark[s] = mark[s] | free[s] | remote[s]
#endif
       :: else
       fi;
       s++
    :: else -> s = 0; break
    od
  }
}

inline GiveBack(s) {
  bits = free[s];
  bits = ALL & ~bits & ~mark[s] & ~remote[s];
#ifdef INTO_FREE
  now = free[s];
  atomic { assert((bits & held[s]) == 0); free[s] = now | bits; bits = 0; now = 0 }
#else
  atomic { assert((bits & held[s]) == 0); remote[s] = remote[s] | bits; bits = 0 }
#endif
}

#ifdef NO_LOCK
#define LOCK(o)
#define UNLOCK(o)
#else
#define LOCK(o) atomic { !lock[o] -> lock[o] = true };
#define UNLOCK(o) lock[o] = false;
#endif
#ifdef NO_LOOK
#define STILL(s, o) true
#else
#define STILL(s, o) (owner[s] == o)
#endif

inline SweepInBackground(s) {
#ifdef NUMBER_FIRST
  if :: swept[s] != cycle -> swept[s] = cycle; o = owner[s]; LOCK(o) GiveBack(s); UNLOCK(o) :: else fi;
#else
  do
  :: o = owner[s];
     LOCK(o)
     if
     :: STILL(s, o) ->
        if :: swept[s] != cycle -> GiveBack(s); swept[s] = cycle :: else fi;
        UNLOCK(o)
        break
     :: else -> UNLOCK(o) skip
     fi
  od;
#endif
  o = 0
}

active proctype Collector() {
  byte s, o, bits;
#ifdef INTO_FREE
  byte now;
#endif
  begun;
  do
  :: cycle < CYCLES ->
     FinalStop();
     do
     :: s < SPANS ->
        if :: in_use[s] -> SweepInBackground(s) :: else fi;
        s++
     :: else -> s = 0; break
     od
  :: else -> break
  od;
  over = true
}

init {
  d_step { in_use[CURRENT] = true; free[CURRENT] = 1 };
  if :: remote[CURRENT] = 2 :: held[CURRENT] = 2 fi;
  if
  :: true /* it will be new */
  :: atomic { in_use[OTHER] = true; owner[OTHER] = NOBODY; held[OTHER] = 3 }
  :: atomic { in_use[OTHER] = true; owner[OTHER] = MINE; free[OTHER] = 1; held[OTHER] = 2 }
  fi;
  begun = true
}
