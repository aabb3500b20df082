#!/bin/sh
# unified.sh: `neap run --limit` on cgroup v2, in the VM of tests/vm: from the root cgroup, from a cgroup of its own as in
# a container, from one shared with others, and where nothing can be made. Arguments: neap and hold.
set -u
neap=$1 hold=$2 root=/sys/fs/cgroup failures=0

expect() { # WHAT STATUS GREP FILE: the last exit status, and a line in what was said
  echo "# $1: $(cat "$4")"
  [ "$status" = "$2" ] && grep -q "$3" "$4" && echo "ok $1" && return
  echo "not ok $1: status $status, wanted $2 and '$3'"
  failures=$((failures + 1))
}

run() { # in the cgroup $1, with other processes in it where $2 is "shared": the rest
  group=$1 shared=$2
  shift 2
  sh -c "echo 0 >$group/cgroup.procs; $([ "$shared" = shared ] && echo 'sleep 1000 & ')"'"$@"; status=$?
         [ -z "$!" ] || kill $!; exit $status' sh "$@" >/tmp/said 2>&1
  status=$?
}

grep -q memory $root/cgroup.controllers || { echo "no memory controller here"; exit 77; }
echo +memory >$root/cgroup.subtree_control

echo grow >/tmp/grow
run $root alone "$neap" run --limit 64M -- sh -c "$hold </tmp/grow"
expect "a kill below the root cgroup" 137 "killed by the limit of 64 MiB: at the last reading" /tmp/said

run $root alone "$neap" run --limit 64M -- sh -c 'cat /sys/fs/cgroup$(sed s/0::// /proc/self/cgroup)/memory.swap.max
                                                  cat /sys/fs/cgroup$(sed s/0::// /proc/self/cgroup)/memory.max; exit 3'
expect "the limit is set" 3 "^67108864$" /tmp/said

# A container's cgroup: the memory controller is not handed down, and neap is its only process.
mkdir $root/container
echo 256M >$root/container/memory.max
sh -c "echo 0 >$root/container/cgroup.procs; exec $neap run --limit 64M -- cat /proc/self/cgroup" >/tmp/said 2>&1
status=$?
expect "alone in a container it makes room for a cgroup below" 0 "0::/container/neap\.[0-9]*\.[0-9]*$" /tmp/said

# A session's cgroup beside others: a limit of its own must not be evaded by leaving it.
mkdir $root/session
run $root/session shared "$neap" run --limit 64M -- cat /proc/self/cgroup
expect "without limits of its own a cgroup beside it will do" 0 "0::/neap\.[0-9]*\.[0-9]*$" /tmp/said
echo 300M >$root/session/memory.max
run $root/session shared "$neap" run --limit 64M -- cat /proc/self/cgroup
expect "with a limit of its own it is not left" 0 "no limit of 64 MiB here: other processes are in .*; running without" /tmp/said

# A limit further up that is hit first.
mkdir $root/tight
echo 48M >$root/tight/memory.max
sh -c "echo 0 >$root/tight/cgroup.procs; exec $neap run --limit 64M -- sh -c '$hold </tmp/grow'" >/tmp/said 2>&1
status=$?
expect "a tighter limit above is told from its own" 137 "killed by a limit of 48 MiB above its own of 64 MiB" /tmp/said

left=$(find $root -name 'neap.*' ! -name '*.self' -type d)
[ -z "$left" ] && echo "ok nothing is left" || { echo "not ok left: $left"; failures=$((failures + 1)); }
[ $failures = 0 ]
