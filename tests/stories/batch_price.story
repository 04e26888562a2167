# Tokens used in a batch cost half, input and output, with the cached rate halved on top.
# P4, S47

at 2026-03-01 09:00
prices plain in 0.15 out 0.60
prices wide in 0.90 cached 0.40 out 1.00
open   ada
usage  ada plain in 1000000 out 1000000 batch             -> credit 0.625
grant  ada 5.00
usage  ada plain in 1000000 out 1000000                   -> credit 4.875
usage  ada wide in 1000000 cached 500000 out 0 batch      -> credit 4.55
