# The monthly spend limit: reached, raised, lowered, and anew with the month.
# L1 L3 L4 L5 U4, S9 S10 S13 S14 S20 S21 S22

at 2026-03-01 09:00
prices tiny in 0.20 out 0.80
prices dear in 0 out 1000 most 100000

# S10, S9: $49.99 is served, $50.00 is the end.
open      ada
card      ada visa                       -> limit 50.00, max 50.00, tier 1
spend     ada 49.99                      -> UNSUSPENDED, headroom 0.01
ask       r1 ada tiny bytes 10 max 10    -> held 0.000026
void      r1
spend     ada 0.02                       -> refused 402 "monthly spend limit", unchanged
spend     ada 0.01                       -> MONTHLY_SPEND_LIMIT_EXCEEDED, headroom 0.00, spent 50.00, owes 49.00
ask       r1 ada tiny bytes 10 max 10    -> refused 412 "is suspended" "monthly spend limit" "new month", unchanged

# S21: above what the tier allows it cannot be set; S20: up to that it can.
open      bob
card      bob visa
limit     bob 200                        -> refused 400 "above the most your tier allows", limit 50.00, unchanged
limit     bob 50                         -> limit 50.00
limit     bob 12.50                      -> refused 400 "whole dollars", unchanged
limit     bob -1                         -> refused 400 "whole dollars", unchanged
buy       bob 50.00                      -> tier 2, max 500.00, limit 50.00   # a value once set stays (L1)
limit     bob 200                        -> limit 200.00, max 500.00
limit     bob 500                        -> limit 500.00
limit     bob 501                        -> refused 400 "your tier", limit 500.00, unchanged

# S13: credit does not help past the limit.
limit     bob 200
grant     bob 949.00                     -> credit 1000.00
spend     bob 200.00                     -> MONTHLY_SPEND_LIMIT_EXCEEDED, credit 800.00, headroom 0.00

# S22: lowered below what is used it suspends at once; L4: raised, service is back.
open      cyd
card      cyd visa
spend     cyd 20.00                      -> UNSUSPENDED
limit     cyd 19                         -> MONTHLY_SPEND_LIMIT_EXCEEDED, limit 19.00, headroom 0.00
limit     cyd 20                         -> MONTHLY_SPEND_LIMIT_EXCEEDED
limit     cyd 21                         -> UNSUSPENDED, headroom 1.00
limit     cyd 0                          -> MONTHLY_SPEND_LIMIT_EXCEEDED

# L5: a request already running may still spend what it holds, and no more.
open      demo
card      demo visa
spend     demo 10.00
ask       r2 demo dear bytes 10 max 5000 -> held 5.00
limit     demo 12                        -> UNSUSPENDED, headroom 0.00
ask       r3 demo dear bytes 10 max 100  -> refused 402 "monthly spend limit"
done      r2 in 10 out 5000              -> spent 15.00, MONTHLY_SPEND_LIMIT_EXCEEDED

# S14: the new month lifts it; credit is untouched.
month     2026-03
show      ada                            -> UNSUSPENDED, spent 0.00, headroom 50.00, invoice 49.00 PAID
show      bob                            -> UNSUSPENDED, spent 0.00, credit 800.00, limit 200.00, headroom 200.00
show      cyd                            -> MONTHLY_SPEND_LIMIT_EXCEEDED, limit 0.00
show      demo                           -> UNSUSPENDED, limit 12.00, headroom 12.00
ask       r4 ada tiny bytes 10 max 10    -> held 0.000026
