# Objects, strings, hashes, arrays that grow.
state = 12345
chance = lambda { |bound| state = (state * 1103515245 + 12345) % (1 << 31); (state >> 8) % bound }
Record = Struct.new(:name, :parts, :weight)
7.times do |round|
  records = (0...40_000).map { |n| Record.new("record #{chance.(50_000)} of #{n}", [n, n + 1, "part#{n}"], n * 1.5) }
  groups = records.group_by { |r| r.name[0, 9] }
  text = groups.keys.sort.map { |key| "#{key}:#{groups[key].size}" }.join(",")
  sorted = records.sort_by { |r| r.name.reverse }
  words = text.scan(/\d+:\d+/).map { |pair| pair.split(":").map(&:to_i) }
  buffer = +""
  sorted.each { |r| buffer << r.name.gsub("of", "in") << "\n" }
  puts [round, text.size, words.sum { |a, b| a * b }, buffer.size, sorted[10].name].join(" ")
end
