/* Mark termination with several workers: local lists, a shared list under a lock, a count of idle workers.
 *
 * Law: when the end is announced and when the workers have left, every reachable object is marked and scanned and no
 * list holds anything; nobody waits for ever. Nobody sleeps beside shared work either: a worker may stand still for
 * good while it scans (its thread got no time, STALL), and what it had shared before is done by the others.
 *
 * A worker takes work from the shared list under the lock. Without any it counts itself idle under the same lock and
 * reads the futex's word; it waits unless the word has changed. Who shares puts a segment on the list and changes
 * the word under the lock, then wakes one. The last to become idle changes the word and wakes all.
 *
 * Broken: EARLY looks at the shared list without the lock and not again before it counts itself idle: who shared will
 * find it again, but may be long about it (with STALL). COUNT_FIRST counts itself idle, and looks then.
 * DROP: a segment that is shared while another is there replaces it. NO_WAKE: sharing wakes nobody (with STALL).
 * NO_LAST_WAKE: the last does not wake the others. WORD_LATE: the word is read after the lock was let go.
 * PLAIN_MARK: the word of the marks is read and stored, as one marker alone may do it: others' marks are lost.
 */
#ifndef WORKERS
#define WORKERS 3
#endif
/* Objects by number; the fields are bits. The graph: 0 -> 1 2; 1 -> 3 4; 2 -> 4 5. 6 is garbage, and points to 5. */
#define REACHABLE 63
#define FIELDS(o) (o == 0 -> 6 : (o == 1 -> 24 : (o == 2 -> 48 : (o == 6 -> 32 : 0))))
#define BIT(o) (1 << o)

byte marked = 1, scanned = 0;
byte shared = 0;      /* objects on the shared list */
byte own[WORKERS];
byte idle = 0, word = 0, ended = 0;
bool lock = false, waits[WORKERS], done = false, stalled = false;

inline Lock() { atomic { !lock -> lock = true } }
inline Unlock() { lock = false }

/* FUTEX_WAIT: sleeps unless the word has changed already. */
inline Wait(seen) {
  atomic { if :: word == seen -> waits[me] = true :: else fi };
#ifdef STALL
end_sleeping:
#endif
  !waits[me]
}
inline WakeOne() {
  atomic {
    if
    :: waits[0] -> waits[0] = false
    :: waits[1] -> waits[1] = false
#if WORKERS > 2
    :: waits[2] -> waits[2] = false
#endif
    :: else
    fi }
}
inline WakeAll() {
  atomic { other = 0; do :: other < WORKERS -> waits[other] = false; other++ :: else -> other = 0; break od }
}

/* Takes the lowest object of a set. */
inline Take(set, o) {
  atomic { o = 0; do :: (set & BIT(o)) == 0 -> o++ :: else -> break od; set = set & ~BIT(o) }
}

/* Marks and keeps what an object's field shows. */
inline Visit(o) {
#ifdef PLAIN_MARK
  marks = marked;
  if
  :: (marks & BIT(o)) == 0 -> marked = marks | BIT(o); own[me] = own[me] | BIT(o)
#else
  if
  :: atomic { (marked & BIT(o)) == 0 -> marked = marked | BIT(o); own[me] = own[me] | BIT(o) }
#endif
  :: else
  fi
}

inline Share(o) {
  Lock();
#ifdef DROP
  atomic { shared = BIT(o); word++ }
#else
  atomic { shared = shared | BIT(o); word++ }
#endif
  Unlock();
#ifndef NO_WAKE
  WakeOne()
#endif
}

inline NothingLeft() {
  d_step {
    assert(shared == 0 && marked == REACHABLE && scanned == REACHABLE);
    other = 0;
    do :: other < WORKERS -> assert(own[other] == 0); other++ :: else -> other = 0; break od
  }
}

proctype Worker(byte me) {
  byte object, field, fields, seen, other;
#ifdef PLAIN_MARK
  byte marks;
#endif
work:
  do
  :: own[me] != 0 ->
     Take(own[me], object);
     fields = FIELDS(object);
     do
     :: fields != 0 -> Take(fields, field); Visit(field)
     :: else -> break
     od;
     atomic { scanned = scanned | BIT(object); object = 0; field = 0 };
     /* Surplus: all but one may be shared, or not. */
     do
     :: (own[me] & (own[me] - 1)) != 0 -> Take(own[me], object); Share(object); object = 0
     :: break
     od;
#ifdef STALL
     if
     :: atomic { !stalled -> stalled = true }
end_still: false
     :: true
     fi
#endif
  :: else ->
#ifdef EARLY
     if :: shared == 0 -> Lock(); goto none :: else fi;
#endif
     Lock();
#ifdef COUNT_FIRST
     idle++;
     if :: idle == WORKERS -> goto again :: else fi;
     Unlock();
     Lock();
     if :: shared != 0 -> idle-- :: else -> goto again fi;
#endif
     if
     :: shared != 0 -> Take(shared, object); atomic { own[me] = BIT(object); object = 0; lock = false }
     :: else -> break
     fi
  od;
none: /* with the lock held */
  idle++;
again:
  if
  :: idle == WORKERS -> NothingLeft(); done = true; word++; Unlock();
#ifndef NO_LAST_WAKE
     WakeAll();
#endif
     goto out
  :: else
  fi;
#ifdef WORD_LATE
  Unlock();
  seen = word;
#else
  seen = word;
  Unlock();
#endif
  Wait(seen);
  Lock();
  seen = 0;
  if
  :: done -> Unlock()
  :: !done && shared != 0 ->
     idle--; Take(shared, object); atomic { own[me] = BIT(object); object = 0; lock = false };
     goto work
  :: else -> goto again
  fi;
out:
  ended++
}

init {
  byte i = 0, other;
  atomic {
    own[0] = 1; /* the roots */
    do :: i < WORKERS -> run Worker(i); i++ :: else -> break od
  }
#ifdef STALL
end:
  timeout;
  i = 0;
  do
  :: i < WORKERS -> assert(!(stalled && waits[i] && shared != 0)); i++
  :: else -> break
  od
#else
  ended == WORKERS;
  NothingLeft()
#endif
}
