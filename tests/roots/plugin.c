// A shared object to be opened at run time: data, zeroed data and dynamic thread-local storage, each with room
// for 64 pointers.
//
// Law: it holds what it is given, and nothing else.
void *volatile plugin_data[64] = {(void *)1};
void *volatile plugin_bss[64];
static __thread void *volatile plugin_tls[64];

void *volatile *plugin_tls_slots(void);
void *volatile *plugin_tls_slots(void) { return plugin_tls; }
