# Tokens per minute by account and model: each metric moves by itself, a fast variant has limits of its own.
# Q2 S88 S89 S91 S92

policy tokens-per-minute 1000000 1000000 40000
policy size quick small
at 2026-03-01 09:00
prices tiny in 0.20 out 0.80
prices quick in 0.60 out 2.40
open      ada
card      ada visa
minute    ada tiny in 600000 out 10000            -> tokens tiny 1000000 1000000 40000
advance   14 minutes
minute    ada tiny in 600000 out 10000            -> tokens tiny 1000000 1000000 40000
advance   1 minutes
minute    ada tiny in 600000 cached 100000 out 20000
                                                  -> tokens tiny 1250000 1000000 40000  # half is not more than half
advance   1 minutes
minute    ada tiny in 600000 out 20001            -> tokens tiny 1250000 1250000 50000
advance   15 minutes
minute    ada tiny in 900000 out 30000            -> tokens tiny 1500000 1500000 60000  # the ceiling of tier 1
grant     ada 500.00 purchased                    -> tier 3
advance   15 minutes
minute    ada tiny in 900000 out 20000            -> tokens tiny 1875000 1875000 60000

minute    ada quick in 10 out 10                  -> tokens tiny 1875000 1875000 60000
                                                  -> tokens quick 1000000 1000000 40000
advance   1 days
minute    ada tiny in 1000 out 10
show      ada                                     -> tokens tiny 1875000 1875000 60000  # three days tell, not one
                                                  -> tokens quick 1000000 1000000 40000
advance   1 days
minute    ada tiny in 1000 out 10
advance   1 days
minute    ada tiny in 1000 out 10
advance   1 days
minute    ada tiny in 1000 out 10                 -> tokens tiny 1500000 1500000 48000
                                                  -> tokens quick 1000000 1000000 40000
advance   1 days
minute    ada tiny in 1000 out 10                 -> tokens tiny 1200000 1200000 40000  # never below its start
                                                  -> tokens quick 1000000 1000000 40000
advance   73 hours
show      ada                                     -> tokens tiny 1000000 1000000 40000
                                                  -> tokens quick 1000000 1000000 40000
