"""Scripts in Lua, for what has to be done at once in Redis, between what others do."""

from __future__ import annotations

COMMIT = """
local mine = {}
for _, held in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[4], ARGV[5], ARGV[2])) do
    mine[held[1]] = true
end
local done = {}
for i = 6, #ARGV do if mine[ARGV[i]] then done[#done + 1] = ARGV[i] end end
if #done > 0 then redis.call('XACK', KEYS[1], ARGV[1], unpack(done)) end
if #done == #ARGV - 5 then return #done end
return done
"""
LEAVE = """
while true do
    local held = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1000, ARGV[2])
    if #held == 0 then return 0 end
    local command = {'XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0}
    for _, entry in ipairs(held) do command[#command + 1] = entry[1] end
    command[#command + 1] = 'IDLE'
    command[#command + 1] = ARGV[4]
    command[#command + 1] = 'JUSTID'
    redis.call(unpack(command))
end
"""
REMOVE = """
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) > 0 then return 0 end
return redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
"""
RESTORE = """
local given = 0
for i = 5, #ARGV do
    local held = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)
    local there = #redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i]) > 0
    if there and (#held == 0 or held[1][2] == ARGV[2]) then
        local claim = {'XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, ARGV[i], 'IDLE', ARGV[4], 'FORCE', 'JUSTID'}
        given = given + #redis.call(unpack(claim))
    end
end
return given
"""
MOST_COUNTED = 10_000
COUNT = f"return #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[2], 'COUNT', {MOST_COUNTED})"
SET_BACK = """
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local field = {}
    for i = 1, #group, 2 do field[group[i]] = group[i + 1] end
    if field['name'] == ARGV[1] and field['last-delivered-id'] == ARGV[2] then
        return redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], ARGV[3])
    end
end
return false
"""
