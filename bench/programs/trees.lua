-- Binary trees, tables and strings: what a garbage collector of small blocks asks of malloc.
local function tree(depth)
  if depth == 0 then return {} end
  return {tree(depth - 1), tree(depth - 1)}
end
local function count(t) return t[1] and 1 + count(t[1]) + count(t[2]) or 1 end

local kept, total = tree(15), 0
for round = 1, 24 do total = total + count(tree(14)) end
local words = {}
for i = 1, 400000 do words[i] = "word " .. (i * 7919 % 400000) end
table.sort(words)
local index = {}
for i, word in ipairs(words) do index[word] = {i, word:upper()} end
print(total, count(kept), #table.concat(words, ","), index["word 77"][2])
