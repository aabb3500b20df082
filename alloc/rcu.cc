// rcu.cc: the only user of liburcu's headers.
#include "alloc/rcu.h"

#include <urcu-bp.h>

namespace neap {

void Rcu::ReadLock() { urcu_bp_read_lock(); }
void Rcu::ReadUnlock() { urcu_bp_read_unlock(); }
void Rcu::Synchronize() { urcu_bp_synchronize_rcu(); }
void Rcu::BeforeFork() { urcu_bp_before_fork(); }
void Rcu::AfterForkInParent() { urcu_bp_after_fork_parent(); }
void Rcu::AfterForkInChild() { urcu_bp_after_fork_child(); }

}  // namespace neap
