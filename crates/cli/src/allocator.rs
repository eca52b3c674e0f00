//! The allocator of every binary that has the tools in it: jemalloc, with one arena (decision 7).

use tikv_jemallocator::Jemalloc;

// The system's allocator kept what large requests had needed, once for each thread that had ever handled one.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Read by jemalloc when the process starts, as a C string: one arena for all threads, since there are few of them and
/// each has its own cache of small pieces; and what has been free for a second goes back to the system.
#[expect(unsafe_code, reason = "jemalloc looks for its settings under this name, as a pointer to a C string")]
#[unsafe(export_name = "_rjem_malloc_conf")]
#[used]
static SETTINGS: &[u8; 47] = b"narenas:1,dirty_decay_ms:1000,muzzy_decay_ms:0\0";
