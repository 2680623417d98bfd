// The C++ operators, all twenty, without libstdc++: what they need of it is looked for weakly, so
// that a C program does not get it loaded.
#include <new>

#include "core/heap/heap.h"
#include "platform/message.h"
#include "preload/family.h"

// std::get_new_handler() and std::__throw_bad_alloc() of libstdc++.
extern "C" {
__attribute__((weak)) std::new_handler _ZSt15get_new_handlerv();
__attribute__((weak, noreturn)) void _ZSt17__throw_bad_allocv();
}

namespace gcm {
namespace {

void* TryAllocate(size_t size, size_t alignment) {
  return alignment == 0 ? Malloc(size) : AlignedOrNull(alignment, size);
}

// The loop of [new.delete.single]: the handler makes room, throws, or is absent.
GCM_NOINLINE void* AllocateOrThrow(size_t size, size_t alignment) {
  for (;;) {
    if (void* p = TryAllocate(size, alignment)) return p;
    std::new_handler handler =
        _ZSt15get_new_handlerv != nullptr ? _ZSt15get_new_handlerv() : nullptr;
    if (handler == nullptr) break;
    handler();
  }
  if (_ZSt17__throw_bad_allocv != nullptr) _ZSt17__throw_bad_allocv();
  Fatal("operator new: out of memory");
}

GCM_INLINE void* New(size_t size) {
  if (GCM_LIKELY(size <= kMaxQuickRequest)) {
    if (void* p = Heap::AllocateQuickly(QuickRow(size)); GCM_LIKELY(p != nullptr)) return p;
  }
  return AllocateOrThrow(size, 0);
}
GCM_INLINE void* NewAligned(size_t size, std::align_val_t alignment) {
  return AllocateOrThrow(size, static_cast<size_t>(alignment));
}
// A nothrow form gives null where the throwing form throws; a handler may throw.
void* NewNothrow(size_t size, size_t alignment) noexcept {
  if (void* p = TryAllocate(size, alignment); GCM_LIKELY(p != nullptr)) return p;
  if (_ZSt15get_new_handlerv == nullptr) return nullptr;
#if defined(__cpp_exceptions)
  try {
    for (;;) {
      std::new_handler handler = _ZSt15get_new_handlerv();
      if (handler == nullptr) return nullptr;
      handler();
      if (void* p = TryAllocate(size, alignment)) return p;
    }
  } catch (...) {
    return nullptr;
  }
#else
#error "new.cc is compiled with exceptions: a new_handler may throw"
#endif
}
GCM_NOINLINE void Delete(void* p) { heap().Free(p, "operator delete"); }

}  // namespace
}  // namespace gcm

#define GCM_OP GCM_EXPORT
using std::align_val_t;
using std::nothrow_t;

GCM_OP void* operator new(size_t n) { return gcm::New(n); }
GCM_OP void* operator new[](size_t n) { return gcm::New(n); }
GCM_OP void* operator new(size_t n, const nothrow_t&) noexcept { return gcm::NewNothrow(n, 0); }
GCM_OP void* operator new[](size_t n, const nothrow_t&) noexcept { return gcm::NewNothrow(n, 0); }
GCM_OP void* operator new(size_t n, align_val_t a) { return gcm::NewAligned(n, a); }
GCM_OP void* operator new[](size_t n, align_val_t a) { return gcm::NewAligned(n, a); }
GCM_OP void* operator new(size_t n, align_val_t a, const nothrow_t&) noexcept {
  return gcm::NewNothrow(n, static_cast<size_t>(a));
}
GCM_OP void* operator new[](size_t n, align_val_t a, const nothrow_t&) noexcept {
  return gcm::NewNothrow(n, static_cast<size_t>(a));
}
GCM_OP void operator delete(void* p) noexcept { gcm::Delete(p); }
GCM_OP void operator delete[](void* p) noexcept { gcm::Delete(p); }
GCM_OP void operator delete(void* p, const nothrow_t&) noexcept { gcm::Delete(p); }
GCM_OP void operator delete[](void* p, const nothrow_t&) noexcept { gcm::Delete(p); }
GCM_OP void operator delete(void* p, size_t) noexcept { gcm::Delete(p); }
GCM_OP void operator delete[](void* p, size_t) noexcept { gcm::Delete(p); }
GCM_OP void operator delete(void* p, align_val_t) noexcept { gcm::Delete(p); }
GCM_OP void operator delete[](void* p, align_val_t) noexcept { gcm::Delete(p); }
GCM_OP void operator delete(void* p, size_t, align_val_t) noexcept { gcm::Delete(p); }
GCM_OP void operator delete[](void* p, size_t, align_val_t) noexcept { gcm::Delete(p); }
GCM_OP void operator delete(void* p, align_val_t, const nothrow_t&) noexcept { gcm::Delete(p); }
GCM_OP void operator delete[](void* p, align_val_t, const nothrow_t&) noexcept { gcm::Delete(p); }

// What the try block needs is libstdc++'s where it is loaded; elsewhere no handler is ever called.
asm(".weak __gxx_personality_v0\n.weak __cxa_begin_catch\n.weak __cxa_end_catch\n.weak "
    "_Unwind_Resume");
