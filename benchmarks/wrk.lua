-- Replays prepared requests: the script's argument names a file of "<length>\n<raw request>" records.
-- Ends with one line of figures that benchmarks/load.py reads.
local requests, position = {}, 0

function init(arguments)
    local file = assert(io.open(arguments[1], "rb"))
    while true do
        local length = file:read("*n")
        if not length then break end
        file:read(1)
        requests[#requests + 1] = file:read(length)
    end
    file:close()
end

function request()
    position = position % #requests + 1
    return requests[position]
end

function done(summary, latency, _)
    local errors = summary.errors
    local broken = errors.connect + errors.read + errors.write + errors.timeout
    io.write(string.format(
        "FIGURES %d %d %d %d %d %d\n", summary.requests, summary.duration, errors.status, broken,
        latency:percentile(50), latency:percentile(99)))
end
