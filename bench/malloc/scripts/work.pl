# Hashes of words, regular expressions, sorting, strings that grow.
use strict;
use warnings;
my $state = 12345;
sub chance { $state = ($state * 1103515245 + 12345) % (1 << 31); return ($state >> 8) % $_[0]; }
my (%count, %list);
for my $n (1 .. 130000) {
  my $word = sprintf("w%x-%d", chance(1 << 16), $n % 17);
  $count{$word}++;
  push @{ $list{substr($word, 0, 3)} }, $word;
}
my $text = join(" ", map { "$_=$count{$_}" } sort keys %count);
my $found = 0;
$found++ while $text =~ /w([0-9a-f]+)-(\d+)=[2-9]/g;
(my $changed = $text) =~ s/(\d+)=/<$1>/g;
print length($text), " $found ", length($changed), "\n";
for my $key (sort keys %list) { print $key, " ", scalar(@{ $list{$key} }), " ", (sort @{ $list{$key} })[0], "\n"; }
my @records = map { { id => $_, name => "record $_", parts => [ split /,/, join(",", $_ .. $_ + 5) ] } } 1 .. 30000;
my $sum = 0;
$sum += $_->{parts}[3] for sort { $a->{name} cmp $b->{name} } @records;
print "$sum\n";
