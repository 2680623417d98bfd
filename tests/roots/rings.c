// Rings of requests and answers that the program shares with the kernel: io_uring's and the older aio's.
//
// Law: a word that the program put into a request counts as long as the request or its answer is in the ring.
// No library is used: the system calls alone.
#include "cases.h"
#include "roots.h"

#include <fcntl.h>
#include <linux/aio_abi.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__has_include)
#if __has_include(<linux/io_uring.h>)
#include <linux/io_uring.h>
#define HAVE_IO_URING 1
#endif
#endif

#ifdef HAVE_IO_URING
static int ring;
static struct io_uring_params params;
static char *sq;
static char *cq;
static struct io_uring_sqe *sqes;

static void *map_ring(size_t size, uint64_t offset) {
  void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, (off_t)offset);
  MUST(p != MAP_FAILED);
  return p;
}

static void open_ring(void) {
  ring = (int)syscall(SYS_io_uring_setup, 2 * kBlocks, &params);
  if (ring < 0) skip("no io_uring here");
  sq = map_ring(params.sq_off.array + params.sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING);
  cq = map_ring(params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
  sqes = map_ring(params.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
}

// Requests to do nothing, each with a block's address; they are submitted later, if at all.
static GCM_NOINLINE void prepare_requests(int n) {
  unsigned *array = (unsigned *)(sq + params.sq_off.array);
  unsigned tail = *(unsigned *)(sq + params.sq_off.tail);
  const unsigned mask = *(unsigned *)(sq + params.sq_off.ring_mask);
  for (int i = 0; i < n; ++i, ++tail) {
    struct io_uring_sqe *sqe = &sqes[tail & mask];
    memset(sqe, 0, sizeof *sqe);
    sqe->opcode = IORING_OP_NOP;
    void *p = new_block();
    sqe->user_data = dropping ? 0 : (uint64_t)(uintptr_t)p;
    array[tail & mask] = tail & mask;
  }
  __atomic_store_n((unsigned *)(sq + params.sq_off.tail), tail, __ATOMIC_RELEASE);
}

void case_kernel_io_uring(void) {
  open_ring();
  prepare_requests(kBlocks / 2);
  MUST(syscall(SYS_io_uring_enter, ring, kBlocks / 2, 0, 0, NULL, 0) == kBlocks / 2);
  memset(sqes, 0, params.sq_entries * sizeof *sqes);  // the first half's blocks are in the answers only
  prepare_requests(kBlocks / 2);
  hide();
  judge();
  const struct io_uring_cqe *answers = (const struct io_uring_cqe *)(cq + params.cq_off.cqes);
  for (int i = 0; i < kBlocks / 2 && !dropping; ++i) MUST((answers[i].user_data ^ hidden[i]) == kKey);
}
#else
void case_kernel_io_uring(void) { skip("no io_uring in this system's headers"); }
#endif

static aio_context_t context;
static struct iocb requests[kBlocks];

static GCM_NOINLINE void submit_reads(void) {
  static char bytes[16];
  const int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  MUST(fd >= 0);
  for (int i = 0; i < kBlocks; ++i) {
    struct iocb *request = &requests[i];
    void *p = new_block();
    request->aio_data = dropping ? 0 : (uint64_t)(uintptr_t)p;
    request->aio_lio_opcode = IOCB_CMD_PREAD;
    request->aio_fildes = (uint32_t)fd;
    request->aio_buf = (uint64_t)(uintptr_t)bytes;
    request->aio_nbytes = sizeof bytes;
    MUST(syscall(SYS_io_submit, context, 1, &request) == 1);
  }
  usleep(50000);  // a read of a file is done when it has been submitted, or soon after
  memset(requests, 0, sizeof requests);
}

void case_kernel_aio(void) {
  static struct io_event events[kBlocks];
  if (syscall(SYS_io_setup, 2 * kBlocks, &context) != 0) skip("no aio here");
  submit_reads();
  hide();
  judge();
  MUST(syscall(SYS_io_getevents, context, kBlocks, kBlocks, events, NULL) == kBlocks);
  for (int i = 0; i < kBlocks && !dropping; ++i) MUST((events[i].data ^ hidden[i]) == kKey);
}
