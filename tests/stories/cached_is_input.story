# The regime in which caching is billing-neutral: a cached token costs what any input token does.
# P3, S45

policy cached-is-input yes
at 2026-03-01 09:00
prices wide in 0.95 cached 0.16 out 4.00
open      ada
ask       r1 ada wide bytes 8000 max 500
done      r1 in 8000 cached 7500 out 500 -> charged 0.0096
