# Data structures, regular expressions, sorts, children and pipes, each checked. ARGV[0]: the library it must run on.
use strict;
use warnings;
use Test::More;

my $library = shift;
if ($library) {
  open my $maps, '<', '/proc/self/maps' or die;
  ok((grep { index($_, $library) >= 0 } <$maps>) > 0, 'on the library');
}

for my $round (1 .. 5) {
  my %table;
  $table{$_ * 7919 % 100_003} = "value $_" x ($_ % 20) for 1 .. 50_000;
  is(scalar(keys %table), 50_000, 'keys');
  delete @table{grep { $_ % 3 == 0 } keys %table};
  my @sorted = sort { $a <=> $b } keys %table;
  ok($sorted[$_ - 1] < $sorted[$_], 'order') for map { $_ * 1000 } 1 .. 30;
  my $text = join ',', @sorted;
  is(scalar(split /,/, $text), scalar(@sorted), 'split and join');
  (my $copy = $text) =~ s/(\d)(\d)/$2$1/g;
  $copy =~ s/(\d)(\d)/$2$1/g;
  is(length $copy, length $text, 'substitution');
}

my $tree;
for my $i (map { $_ * 7919 % 20_011 } 1 .. 20_000) {
  my $at = \$tree;
  $at = $i < $$at->[0] ? \$$at->[1] : \$$at->[2] while $$at;
  $$at = [$i, undef, undef];
}
sub count { my $at = shift; return $at ? 1 + count($at->[1]) + count($at->[2]) : 0 }
{ no warnings 'recursion'; is(count($tree), 20_000, 'tree'); }

for my $i (1 .. 50) {
  my $pid = open my $pipe, '-|';
  if (!$pid) { print 'x' x ($i * 1000); exit 0 }
  local $/;
  is(length(<$pipe>), $i * 1000, 'a child writes');
  close $pipe;
  is($?, 0, 'a child ends well');
}
is(`echo hello`, "hello\n", 'backticks');

use threads;
my @threads = map { my $n = $_; threads->create(sub { my %h; $h{$_} = 'x' x $_ for 1 .. 2000; scalar(keys %h) + $n }) } 1 .. 4;
is($_->join, 2000 + ++$main::n, 'a thread') for @threads;
done_testing;
