/* Cards with a summary: write barriers and slices that ran out of time set cards, and a flag for the chunk that holds
 * them; rounds look at the flag first. The pieces that the members of a team take are not aligned to chunks, so two of
 * them may share one.
 *
 * Law: what was written before the final stop has been scanned since, when the final round is over: by one of the
 * rounds before, of which there may be any number, or by the final one. A round gives each of two members a part of
 * the chunk, or one of them all of it (WHOLE).
 *
 * A barrier sets the card, then the flag, and is not stopped between its write and its end (a section). Who has the
 * chunk to himself clears the flag, then takes the cards. Who has a part of it leaves the flag as it is.
 *
 * Broken: RESTORE: who has a part clears the flag and sets it again when he is done: the other finds it clear meanwhile
 * and skips his part. FLAG_FIRST: the barrier sets the flag, then the card. CARDS_FIRST: the flag is cleared behind the
 * cards (both with WHOLE). STOPPABLE: a thread is stopped between its write and its card.
 */
#define PARTS 2

bool written[PARTS]; /* and not scanned since */
bool card[PARTS], flag = false;
bool section = false, stopped = false;
bool called[PARTS]; /* the member of that part */

inline Barrier(i) {
#ifdef STOPPABLE
  atomic { !stopped -> written[i] = true };
  !stopped;
#else
  atomic { !stopped -> written[i] = true; section = true };
#endif
#ifdef FLAG_FIRST
  flag = true;
  card[i] = true;
#else
  card[i] = true;
  flag = true;
#endif
  section = false
}

active proctype Writer() {
end:
  do
  :: Barrier(0)
  :: Barrier(1)
  od
}

inline TakeCard(i) {
  if
  :: atomic { card[i] -> card[i] = false }; written[i] = false
  :: else
  fi
}

proctype Member(byte part) {
end:
  do
  :: called[part] ->
     if
     :: !flag
     :: flag ->
#ifdef WHOLE
#ifndef CARDS_FIRST
        flag = false;
#endif
        TakeCard(0);
        TakeCard(1);
#ifdef CARDS_FIRST
        flag = false
#endif
#else
#ifdef RESTORE
        flag = false;
#endif
        TakeCard(part);
#ifdef RESTORE
        flag = true
#endif
#endif
     fi;
     called[part] = false
  od
}

inline Round() {
#ifdef WHOLE
  called[0] = true;
#else
  atomic { called[0] = true; called[1] = true };
#endif
  !called[0] && !called[1]
}

active proctype Collector() {
  atomic { run Member(0); run Member(1) };
  do
  :: Round()
  :: break
  od;
  atomic { !section -> stopped = true };
  Round();
  assert(!written[0] && !written[1])
}
