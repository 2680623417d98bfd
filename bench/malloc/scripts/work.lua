-- Tables, strings, closures; everything is dropped and made again.
local state = 12345
local function chance(bound)
  state = (state * 1103515245 + 12345) % 2147483648
  return (state >> 8) % bound
end
local total = 0
for round = 1, 5 do
  local list, index = {}, {}
  for n = 1, 30000 do
    local name = "name" .. chance(100000) .. "/" .. n
    local object = { name = name, value = n, parts = { n, n + 1, n + 2 } }
    object.sum = function(self) return self.value + #self.parts + n end
    list[#list + 1] = object
    index[name] = object
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  for _, object in ipairs(list) do total = total + object:sum() end
  local words = {}
  for n = 1, 20000 do words[n] = string.format("%05d:%s", n, list[n].name:upper():reverse()) end
  local text = table.concat(words, ",")
  local count = 0
  for word in text:gmatch("[^,]+") do count = count + #word end
  print(round, #text, count, index[list[7].name].value)
end
print(total)
