# Tokens a minute that the operator sets: they do not move, are not forgotten, and give way to what moved before.
# Q2

policy tokens-per-minute 1000000 1000000 40000
at 2026-03-01 09:00
prices tiny in 0.20 out 0.80
prices quick in 0.60 out 2.40
open      ada
card      ada visa
minute    ada tiny in 600000 out 10
advance   15 minutes
minute    ada tiny in 600000 out 10               -> tokens tiny 1250000 1250000 40000

token-limit ada tiny generated 90000              -> tokens tiny 1250000 1250000 90000
advance   15 minutes
minute    ada tiny in 700000 out 80000            -> tokens tiny 1500000 1500000 90000  # above half of it, and yet
token-limit ada tiny generated none               -> tokens tiny 1500000 1500000 40000  # where it was
token-limit ada tiny prompt unlimited generated 90000
                                                  -> tokens tiny unlimited 1500000 90000
advance   73 hours
minute    ada tiny in 10 out 10                   -> tokens tiny unlimited 1000000 90000  # what moves has begun anew

token-limit ada all prompt 500 uncached 500 generated 20
                                                  -> tokens * 500 500 20
                                                  -> tokens tiny unlimited 500 90000  # its own goes before that of all
minute    ada quick in 10 out 10                  -> tokens * 500 500 20
                                                  -> tokens quick 500 500 20
                                                  -> tokens tiny unlimited 500 90000
token-limit ada all prompt none uncached none generated none
                                                  -> tokens quick 1000000 1000000 40000
                                                  -> tokens tiny unlimited 1000000 90000
token-limit ada tiny prompt none generated none   -> tokens quick 1000000 1000000 40000
                                                  -> tokens tiny 1000000 1000000 40000
token-limit ada huge prompt 9                     -> refused 400 "no model 'huge' has a price", unchanged
token-limit ada tiny prompt unlimited uncached unlimited generated unlimited
                                                  -> tokens quick 1000000 1000000 40000
                                                  -> tokens tiny unlimited unlimited unlimited
