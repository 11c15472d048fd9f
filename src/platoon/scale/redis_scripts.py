"""What happens to jobs in Redis: one script for each change, so that it happens whole or not at all.

Times are those of the Redis server, whichever machines the workers run on; a test may give another. Whoever reads must
know the keys: of a job `job:ID` (a hash), `document:ID` and `pages:ID`; of all jobs `waiting` (by priority and age,
which the field `queue_score` of a job keeps), `leases`, `outbox` and `webhooks` (by when they are due), `ended` (by
when they expire), `bytes` and `turns` (by owner).
"""

from typing import Final

_COMMON: Final = """
local prefix, given = KEYS[1], ARGV[1]
local waiting, leases, outbox = prefix .. 'waiting', prefix .. 'leases', prefix .. 'outbox'
local webhooks, ended = prefix .. 'webhooks', prefix .. 'ended'
local function clock()
    if given ~= '' then return tonumber(given) end
    local time = redis.call('TIME')
    return time[1] + time[2] / 1e6
end
local now = clock()
local function seconds(value) return string.format('%.6f', value) end
local function key(kind, id) return prefix .. kind .. ':' .. id end
local function held(job, holder)
    return redis.call('HGET', job, 'state') == 'STARTED' and redis.call('HGET', job, 'holder') == holder
end
local function taken(owner) -- bytes of all jobs, and of one owner's
    local all = 0
    for _, bytes in ipairs(redis.call('HVALS', prefix .. 'bytes')) do all = all + tonumber(bytes) end
    return all, tonumber(redis.call('HGET', prefix .. 'bytes', owner) or 0)
end
local function count_bytes(job, owner, more)
    redis.call('HINCRBY', job, 'bytes', more)
    if redis.call('HINCRBY', prefix .. 'bytes', owner, more) <= 0 then redis.call('HDEL', prefix .. 'bytes', owner) end
end
local function put_back(id, job, wait_s)
    local due = wait_s > 0 and now + wait_s or 0
    redis.call('HSET', job, 'state', 'PENDING', 'due', seconds(due))
    redis.call('HDEL', job, 'holder', 'lease')
    redis.call('ZREM', leases, id)
    local score = redis.call('HGET', job, 'queue_score') or redis.call('HGET', job, 'place') -- its name before
    redis.call('ZADD', waiting, score, id)
    redis.call('ZADD', outbox, seconds(due), id)
end
local function queue() -- what waits, in order of priority and age: id, tier, owner, due, attempts, turn
    local found, turns = {}, {}
    local ids = redis.call('ZRANGE', waiting, 0, -1, 'WITHSCORES')
    for index = 1, #ids, 2 do
        local job = key('job', ids[index])
        local owner, due, attempts = unpack(redis.call('HMGET', job, 'owner', 'due', 'attempts'))
        if not due then -- gone
            redis.call('ZREM', waiting, ids[index])
        else
            owner, due = owner or '', tonumber(due)
            if due > now + 61 then due = 0 end -- later than can be: the server's clock was set back
            turns[owner] = turns[owner] or tonumber(redis.call('HGET', prefix .. 'turns', owner) or 0)
            found[#found + 1] = {id = ids[index], tier = math.floor(ids[index + 1] / 1e12), owner = owner,
                due = due, attempts = tonumber(attempts), turn = turns[owner], number = index}
        end
    end
    return found
end
local function less(one, other, ...)
    for _, name in ipairs({...}) do
        if one[name] ~= other[name] then return one[name] < other[name] end
    end
    return false
end
"""

_LOAD: Final = """
local owner = ARGV[2]
local waiting_of_one = 0
local all = queue()
for _, job in ipairs(all) do if job.owner == owner then waiting_of_one = waiting_of_one + 1 end end
local bytes, bytes_of_one = taken(owner)
return {#all, waiting_of_one, string.format('%.0f', bytes), string.format('%.0f', bytes_of_one)}
"""

_ADD: Final = """
local document, batch = KEYS[2], KEYS[3]
local _, id, owner, priority, bytes, most, most_of_one, most_bytes, most_bytes_of_one, data, fields = unpack(ARGV)
local job = key('job', id)
if redis.call('EXISTS', job) == 1 then return 1 end
local waiting_of_one, all = 0, queue()
for _, other in ipairs(all) do if other.owner == owner then waiting_of_one = waiting_of_one + 1 end end
local taken_by_all, taken_by_one = taken(owner)
if #all >= tonumber(most) or waiting_of_one >= tonumber(most_of_one)
    or taken_by_all + bytes > tonumber(most_bytes) or taken_by_one + bytes > tonumber(most_bytes_of_one) then
    return 0
end
local score = redis.call('INCR', prefix .. 'number') - priority * 1e12
redis.call('SET', document, data)
redis.call('HSET', job, 'queue_score', string.format('%.0f', score), 'created', seconds(now), 'due', '0',
    'batch', batch, unpack(cjson.decode(fields)))
count_bytes(job, owner, bytes)
redis.call('ZADD', waiting, score, id)
redis.call('ZADD', outbox, 0, id)
if batch ~= '' then redis.call('ZADD', batch, score, id) end
return 1
"""

_QUEUE_POSITION: Final = """
local wanted, rounds, firsts, all = nil, {}, {}, queue()
table.sort(all, function(one, other) return less(one, other, 'tier', 'owner', 'attempts', 'number') end)
for _, job in ipairs(all) do
    local lane = job.tier .. ' ' .. job.owner
    rounds[lane] = (rounds[lane] or 0) + 1
    firsts[lane] = math.min(firsts[lane] or job.number, job.number)
    job.round = rounds[lane]
    if job.id == ARGV[2] then wanted = job end
end
if not wanted then return 0 end
for _, job in ipairs(all) do job.first = firsts[job.tier .. ' ' .. job.owner] end
local position = 1
for _, job in ipairs(all) do
    if less(job, wanted, 'tier', 'round', 'turn', 'first', 'number') then position = position + 1 end
end
return position
"""

_CLAIM: Final = """
local _, id, holder, lease_s, most, call = unpack(ARGV)
local chosen = id == ''
if chosen then
    for _, other in ipairs(redis.call('ZRANGE', leases, 0, -1)) do -- the answer was lost, and it is asked again
        if redis.call('HGET', key('job', other), 'call') == call then return {1, other} end
    end
    local best
    for _, job in ipairs(queue()) do
        if job.due <= now and (not best or less(job, best, 'tier', 'turn', 'attempts', 'number')) then best = job end
    end
    if not best then return {0, ''} end
    id = best.id
end
local job = key('job', id)
local state, other, due, held_until, attempts, owner = unpack(
    redis.call('HMGET', job, 'state', 'holder', 'due', 'lease', 'attempts', 'owner'))
if state == 'STARTED' and other == holder then return {1, id} end
local free = state == 'PENDING' and (chosen or tonumber(due) <= now)
    or state == 'STARTED' and tonumber(held_until) < now
if not free then return {0, id} end
if tonumber(attempts) >= tonumber(most) then return {-1, id} end
redis.call('HSET', job, 'state', 'STARTED', 'holder', holder, 'call', call,
    'lease', seconds(now + lease_s))
redis.call('HINCRBY', job, 'attempts', 1)
redis.call('HSETNX', job, 'started', seconds(now))
redis.call('HSET', prefix .. 'turns', owner or '', redis.call('INCR', prefix .. 'turn'))
redis.call('ZREM', waiting, id)
redis.call('ZREM', outbox, id)
redis.call('ZADD', leases, seconds(now + lease_s), id)
return {1, id}
"""

_RENEW: Final = """
local pages = KEYS[2]
local _, id, holder, lease_s, total, index, page, most_bytes, most_bytes_of_one = unpack(ARGV)
local job = key('job', id)
if not held(job, holder) then return 0 end
if index ~= '' then
    local owner = redis.call('HGET', job, 'owner') or ''
    local more = #page - redis.call('HSTRLEN', pages, index)
    local by_all, by_one = taken(owner)
    if by_all + more > tonumber(most_bytes) or by_one + more > tonumber(most_bytes_of_one) then return -1 end
    redis.call('HSET', pages, index, page)
    redis.call('HSET', job, 'attempts', 0, 'done', redis.call('HLEN', pages))
    redis.call('HDEL', job, 'error')
    count_bytes(job, owner, more)
end
redis.call('HSET', job, 'lease', seconds(now + lease_s))
redis.call('ZADD', leases, seconds(now + lease_s), id)
if total ~= '' then redis.call('HSET', job, 'total', total) end
return 1
"""

_PUT_BACK: Final = """
local _, id, holder, wait_s, attempts, error, behind = unpack(ARGV)
local job = key('job', id)
if not held(job, holder) then return 0 end
redis.call('HSET', job, 'attempts', attempts)
if error ~= '' then redis.call('HSET', job, 'error', error) end
if behind == '1' then
    local before = redis.call('HGET', job, 'queue_score') or redis.call('HGET', job, 'place')
    local score = redis.call('INCR', prefix .. 'number') + math.floor(before / 1e12) * 1e12
    redis.call('HSET', job, 'queue_score', string.format('%.0f', score))
end
put_back(id, job, tonumber(wait_s))
return 1
"""

_END: Final = """
local document, pages, batch = KEYS[2], KEYS[3], KEYS[4]
local _, id, holder, state, error, keep_s, notify = unpack(ARGV)
local job = key('job', id)
local before = redis.call('HGET', job, 'state')
if before ~= 'PENDING' and before ~= 'STARTED' then return 0 end
if holder ~= '' and not held(job, holder) then return 0 end
redis.call('HSET', job, 'state', state, 'ended', seconds(now), 'expires', seconds(now + keep_s))
redis.call('HDEL', job, 'holder', 'lease', 'error')
if error ~= '' then redis.call('HSET', job, 'error', error) end
for _, set in ipairs({waiting, leases, outbox}) do redis.call('ZREM', set, id) end
redis.call('ZADD', ended, seconds(now + keep_s), id)
if notify == '1' then redis.call('ZADD', webhooks, seconds(now), id) end
if state == 'REVOKED' or state == 'FAILURE' and redis.call('HLEN', pages) == 0 then
    redis.call('DEL', document, pages)
    count_bytes(job, redis.call('HGET', job, 'owner') or '', -tonumber(redis.call('HGET', job, 'bytes') or 0))
end
return 1
"""

_FORGET: Final = """
local gone = redis.call('ZRANGEBYSCORE', ended, '-inf', seconds(now), 'LIMIT', 0, 100)
for _, id in ipairs(gone) do
    local job = key('job', id)
    local owner, bytes, batch = unpack(redis.call('HMGET', job, 'owner', 'bytes', 'batch'))
    count_bytes(job, owner or '', -tonumber(bytes or 0))
    redis.call('DEL', job, key('document', id), key('pages', id))
    redis.call('ZREM', ended, id)
    redis.call('ZREM', webhooks, id)
    if batch and batch ~= '' then redis.call('ZREM', batch, id) end
end
return #gone
"""

_DUE: Final = """
local _, sending_s, lease_s, longest_s = unpack(ARGV)
for _, id in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', '(' .. seconds(now))) do
    local job = key('job', id)
    if redis.call('EXISTS', job) == 1 then put_back(id, job, 0) else redis.call('ZREM', leases, id) end
end
-- Later than can be: the server's clock was set back.
for _, id in ipairs(redis.call('ZRANGEBYSCORE', leases, '(' .. seconds(now + lease_s), '+inf')) do
    redis.call('HSET', key('job', id), 'lease', seconds(now + lease_s))
    redis.call('ZADD', leases, seconds(now + lease_s), id)
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', outbox, '(' .. seconds(now + longest_s), '+inf')) do
    redis.call('ZADD', outbox, 0, id)
end
local due = redis.call('ZRANGEBYSCORE', outbox, '-inf', seconds(now), 'LIMIT', 0, 100)
for _, id in ipairs(due) do redis.call('ZADD', outbox, seconds(now + sending_s), id) end
return {seconds(now + sending_s), due}
"""

_ANNOUNCED: Final = """
local _, id, again = unpack(ARGV)
if tonumber(redis.call('ZSCORE', outbox, id) or -1) == tonumber(again) then redis.call('ZREM', outbox, id) end
"""

_ANNOUNCE_AGAIN: Final = """
if redis.call('HGET', key('job', ARGV[2]), 'state') == 'PENDING' then
    redis.call('ZADD', outbox, redis.call('HGET', key('job', ARGV[2]), 'due'), ARGV[2])
end
"""

_WEBHOOK: Final = """
local _, lease_s, longest_s, most, receivers, owners = unpack(ARGV)
local function among(list)
    local found = {}
    for _, name in ipairs(cjson.decode(list)) do found[name] = true end
    return found
end
local busy, full = among(receivers), among(owners)
for _, id in ipairs(redis.call('ZRANGEBYSCORE', webhooks, '(' .. seconds(now + lease_s + longest_s), '+inf')) do
    redis.call('ZADD', webhooks, seconds(now), id) -- the server's clock was set back
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', webhooks, '-inf', seconds(now))) do
    local job = key('job', id)
    local receiver, owner = unpack(redis.call('HMGET', job, 'receiver', 'owner'))
    if not busy[receiver or ''] and not full[owner or ''] then
        local attempts = redis.call('HINCRBY', job, 'webhook_attempts', 1)
        local wait_s = math.min(longest_s, 2 ^ (attempts - 1))
        redis.call('ZADD', webhooks, seconds(now + lease_s + wait_s), id)
        if attempts >= tonumber(most) then redis.call('ZREM', webhooks, id) end
        return id
    end
end
return ''
"""

SCRIPTS: Final = {
    name: _COMMON + script
    for name, script in {
        "load": _LOAD,
        "add": _ADD,
        "queue_position": _QUEUE_POSITION,
        "claim": _CLAIM,
        "renew": _RENEW,
        "put_back": _PUT_BACK,
        "end": _END,
        "forget": _FORGET,
        "due": _DUE,
        "announced": _ANNOUNCED,
        "announce_again": _ANNOUNCE_AGAIN,
        "webhook": _WEBHOOK,
    }.items()
}
