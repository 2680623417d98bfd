// The list of all cases: the one place where they are named.
//
// Law: CASE(name) is a function case_name of no arguments, which returns when the outcome is right.
#ifndef GCM_TESTS_ROOTS_CASES_H
#define GCM_TESTS_ROOTS_CASES_H

// Registers: SPIN while running, FUTEX in a bare system call, CALL inside a library call.
#if defined(__x86_64__)
#define GCM_REGISTER_CASES(SPIN, FUTEX, CALL, SPIN_IF)                                                      \
  SPIN(rbx) SPIN(rbp) SPIN(r12) SPIN(r13) SPIN(r14) SPIN(r15) SPIN(rax) SPIN(r8) SPIN(r11) SPIN(xmm0)       \
  SPIN(xmm15_high) SPIN(red_zone) SPIN_IF(ymm5_high, "avx") SPIN_IF(zmm20, "avx512f")                       \
  FUTEX(rbx) FUTEX(rbp) FUTEX(r12) FUTEX(r13) FUTEX(r14) FUTEX(r15) FUTEX(red_zone)                         \
  CALL(rbx) CALL(rbp) CALL(r12) CALL(r13) CALL(r14) CALL(r15)
#elif defined(__aarch64__)
#define GCM_REGISTER_CASES(SPIN, FUTEX, CALL, SPIN_IF)                                                      \
  SPIN(x19) SPIN(x20) SPIN(x21) SPIN(x22) SPIN(x23) SPIN(x24) SPIN(x25) SPIN(x26) SPIN(x27) SPIN(x28)
#else
#define GCM_REGISTER_CASES(SPIN, FUTEX, CALL, SPIN_IF)
#endif

#define GCM_STACK_CASES(CASE)                                                                               \
  CASE(main_stack) CASE(main_stack_other_collects) CASE(thread_stack) CASE(thread_stack_deep)               \
  CASE(alternate_stack) CASE(alternate_stack_in_heap) CASE(below_alternate_stack)                           \
  CASE(alternate_stack_in_heap_collects) CASE(coroutine_collects_in_heap)                                   \
  CASE(alternate_stack_kept_by_kernel) CASE(alternate_stack_kept_by_kernel_main)        \
  CASE(alternate_stack_kept_by_kernel_collects) CASE(alternate_stack_kept_by_kernel_waiting) \
  CASE(collect_registers)                                                         \
  CASE(coroutine_in_mapping) CASE(coroutine_in_heap) CASE(coroutine_running_in_heap) CASE(below_coroutine)

#define GCM_WAIT_CASES(CASE)                                                                                \
  CASE(in_read) CASE(in_raw_read) CASE(in_recv) CASE(in_accept) CASE(in_poll) CASE(in_select)               \
  CASE(in_epoll_wait) CASE(in_mutex) CASE(in_condition) CASE(in_semaphore) CASE(in_futex) CASE(in_sigwait)  \
  CASE(in_sigwait_all) CASE(in_sigsuspend) CASE(in_pause) CASE(in_waitpid) CASE(in_join)                    \
  CASE(timed_nanosleep) CASE(timed_usleep) CASE(timed_poll) CASE(timed_select) CASE(timed_epoll_wait)       \
  CASE(timed_semaphore) CASE(timed_recv) CASE(timed_sigtimedwait) CASE(timed_semop)                         \
  CASE(signals_blocked_spin) CASE(signals_blocked_raw_spin) CASE(signals_blocked_raw_register)              \
  CASE(signals_blocked_raw_read)

#define GCM_STATIC_CASES(CASE)                                                                              \
  CASE(static_data) CASE(static_bss) CASE(static_local) CASE(library_data) CASE(library_bss)                \
  CASE(library_tls_main) CASE(library_tls_thread) CASE(library_loaded_by_thread)                            \
  CASE(static_tls_main) CASE(static_tls_thread)                                                             \
  CASE(specific_low_main) CASE(specific_high_main) CASE(specific_low_thread) CASE(specific_high_thread) \
  CASE(library_opened_repeatedly)

#define GCM_THREAD_CASES(CASE)                                                                              \
  CASE(start_argument) CASE(return_value) CASE(exit_value) CASE(clone_stack) CASE(clone_register)           \
  CASE(clone_stack_in_heap) CASE(clone_signals_blocked) CASE(clone3_stack) CASE(clone3_register)

#define GCM_MAPPING_CASES(CASE)                                                                             \
  CASE(mapping_private) CASE(mapping_shared) CASE(mapping_memfd) CASE(mapping_private_file)                 \
  CASE(mapping_read_only) CASE(mapping_grown) CASE(mapping_moved) CASE(mapping_raw) CASE(mapping_split)     \
  CASE(mapping_after_collection) CASE(mapping_sysv) CASE(mapping_fixed) CASE(program_break)                 \
  CASE(mapping_sparse) CASE(mapping_truncated_file) CASE(mapping_with_guard_region)                         \
  CASE(mapping_shared_file) CASE(mapping_shared_file_after_fork) CASE(code_operand)

#define GCM_HEAP_CASES(CASE)                                                                                \
  CASE(heap_block) CASE(heap_calloc) CASE(heap_aligned) CASE(heap_large_array) CASE(heap_last_word)         \
  CASE(heap_usable_excess) CASE(heap_resized) CASE(heap_chain) CASE(heap_ring) CASE(heap_tree)              \
  CASE(pointer_interior) CASE(pointer_last_byte) CASE(pointer_past_end) CASE(pointer_past_usable)           \
  CASE(pointer_tagged) CASE(pointer_tagged_interior) CASE(pointer_tagged_past_end)                          \
  CASE(unaligned_by_4) CASE(unaligned_by_1) CASE(heap_protected)

#define GCM_MOVING_CASES(CASE)                                                                              \
  CASE(moving_between_places) CASE(moving_by_rotation) CASE(moving_in_list) CASE(moving_between_threads)

#define GCM_PROCESS_CASES(CASE)                                                                             \
  CASE(vfork_parent) CASE(vfork_parent_library_call) CASE(fork_static) CASE(fork_main_stack)                \
  CASE(fork_thread_stack) CASE(fork_from_thread) CASE(fork_tls) CASE(fork_twice)

#define GCM_KERNEL_CASES(CASE)                                                                              \
  CASE(kernel_epoll) CASE(kernel_timer) CASE(kernel_timer_of_thread) CASE(kernel_timer_function)            \
  CASE(kernel_sigqueue) CASE(kernel_sigqueue_many) CASE(kernel_sigqueue_taken)                              \
  CASE(kernel_sigqueue_of_thread) CASE(kernel_mq_notify) CASE(kernel_mq_notify_fired)                       \
  CASE(kernel_mq_notify_function) CASE(kernel_io_uring) CASE(kernel_aio)

#define GCM_FOREIGN_CASES(CASE)                                                                             \
  CASE(foreign_reservation) CASE(foreign_sparse_file) CASE(foreign_sparse_memfd) CASE(foreign_cached_file)  \
  CASE(foreign_clean_private_file) CASE(foreign_guard_region) CASE(foreign_huge_pages)                      \
  CASE(foreign_huge_pages_shared) CASE(foreign_device) CASE(foreign_vanishing)                              \
  CASE(foreign_truncated_again_and_again) CASE(foreign_copying_forbidden)

#define GCM_CASES(CASE)                                                                                     \
  GCM_STACK_CASES(CASE) GCM_WAIT_CASES(CASE) GCM_STATIC_CASES(CASE) GCM_THREAD_CASES(CASE)                  \
  GCM_MAPPING_CASES(CASE) GCM_HEAP_CASES(CASE) GCM_MOVING_CASES(CASE) GCM_PROCESS_CASES(CASE)               \
  GCM_KERNEL_CASES(CASE) GCM_FOREIGN_CASES(CASE)

#define GCM_DECLARE_CASE(name) void case_##name(void);
#define GCM_DECLARE_SPIN(reg) void case_spin_##reg(void);
#define GCM_DECLARE_FUTEX(reg) void case_futex_##reg(void);
#define GCM_DECLARE_CALL(reg) void case_call_##reg(void);
#define GCM_DECLARE_SPIN_IF(reg, feature) void case_spin_##reg(void);
GCM_CASES(GCM_DECLARE_CASE)
GCM_REGISTER_CASES(GCM_DECLARE_SPIN, GCM_DECLARE_FUTEX, GCM_DECLARE_CALL, GCM_DECLARE_SPIN_IF)

#endif
