/* Frees by other threads: a span's remote bits, the flag that says that it is queued, the owner's queue, and the bin
 * that lets the owner free without a look (core/heap/free.cc: FreeSmall, FreeClosely; core/heap/thread_cache.cc:
 * QueueRemote, Unqueue, DrainRemote, Retire).
 *
 * Law: what others have freed is folded by the owner's next drain, or by whoever comes after the owner has retired; and
 * a block that the owner frees after another thread has, is found to be free already.
 *
 * A span of two blocks, each of which another thread frees. The freer sets its bit, then looks at the bin, then at the
 * flag, and queues the span if that was clear. The owner takes the span off the queue, clears the flag and sets the
 * bin, then folds. Where the bin is set it looks at the live bit only; else at the block's remote bit, too. Orders of
 * the program are those of memory here: what a fence keeps apart is swapped in a broken variant.
 *
 * Broken: FLAG_LATE: the owner folds, then clears the flag. BIN_LATE: it folds, then sets the bin. FLAG_LOOK_FIRST: the
 * freer looks at the flag, then sets the bit. BIN_LOOK_FIRST: the same of the bin. UNLOOKED: the owner does not look at
 * the remote bit. BIN_STAYS: the bin stays set when the owner retires.
 */
#define BLOCKS 2
#define EMPTY 0
#define SPAN 1
#define CLOSED 2

bool live[BLOCKS] = true, remote[BLOCKS], freed[BLOCKS];
bool flag = false, bin = true, mine = true, lock = false;
byte queue = EMPTY, done = 0;

inline Fold() {
  i = 0;
  do
  :: i < BLOCKS ->
     if :: atomic { remote[i] -> remote[i] = false }; live[i] = false :: else fi;
     i++
  :: else -> i = 0; break
  od
}

proctype Freer(byte b) {
  bool seen, had;
  byte i;
#ifdef FLAG_LOOK_FIRST
  seen = flag;
#endif
#ifdef BIN_LOOK_FIRST
  had = bin;
  remote[b] = true;
#else
  remote[b] = true;
  had = bin;
#endif
  if :: had -> bin = false :: else fi;
  do
  :: mine ->
#ifndef FLAG_LOOK_FIRST
     seen = flag;
#endif
     if :: seen -> break :: else fi;
     atomic { seen = flag; flag = true };
     if :: seen -> break :: else fi;
     if
     :: atomic { queue != CLOSED -> queue = SPAN }; break
     :: queue == CLOSED ->
        flag = false;
        !mine
     fi
  :: !mine ->
     atomic { !lock -> lock = true };
     Fold();
     lock = false;
     break
  od;
  atomic { freed[b] = true; done++ }
}

inline Clear() {
#ifndef FLAG_LATE
  flag = false;
#endif
#ifndef BIN_LATE
  if :: mine -> bin = true :: else fi;
#endif
}

inline Drain() {
  if
  :: atomic { queue == SPAN -> queue = EMPTY };
     Clear();
     Fold();
#ifdef FLAG_LATE
     flag = false;
#endif
#ifdef BIN_LATE
     bin = true
#endif
  :: else
  fi
}

/* A block that another thread has freed, and said so. */
inline FreeAgain(b) {
  if
  :: bin -> assert(!live[b])
#ifdef UNLOOKED
  :: else -> assert(!live[b])
#else
  :: else -> assert(!live[b] || remote[b])
#endif
  fi
}

/* Where the bin is set and the owner has retired, whoever has its cache next frees by it. */
inline Retire() {
  if
  :: atomic { queue == SPAN -> queue = CLOSED };
     Clear()
  :: atomic { queue == EMPTY -> queue = CLOSED }
  fi;
  atomic { !lock -> lock = true };
#ifndef BIN_STAYS
  bin = false;
#endif
#ifdef FLAG_LATE
  Fold();
  mine = false;
  flag = false;
#else
  mine = false;
  Fold();
#endif
  lock = false
}

active proctype Owner() {
  byte i;
  atomic { run Freer(0); run Freer(1) };
  do
  :: Drain()
  :: freed[0] -> FreeAgain(0)
  :: freed[1] -> FreeAgain(1)
#ifdef RETIRES
  :: Retire();
     done == BLOCKS;
     assert(!bin);
     break
#else
  :: done == BLOCKS -> Drain(); break
#endif
  od;
  assert(!live[0] && !live[1] && !remote[0] && !remote[1])
}
