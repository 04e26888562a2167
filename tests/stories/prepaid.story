# Prepaid: credit first, no month-end invoice, and a limit only where the customer sets one.
# A2 A8 L3, S26 S27 S30 S31 S32 S33 S34

at 2026-03-01 09:00
prices tiny in 0.20 out 0.80

# S26: $10 bought, $10 used: paused, and nothing at the month's end.
open      ada mode prepaid credit 0      -> CREDIT_DEPLETED, limit none
card      ada visa                       -> CREDIT_DEPLETED
buy       ada 10.00                      -> UNSUSPENDED, credit 10.00, receipt 10.00
spend     ada 10.01                      -> refused 402 "Not enough credit", unchanged
spend     ada 10.00                      -> CREDIT_DEPLETED, credit 0.00, owes 0.00
ask       r1 ada tiny bytes 10 max 10    -> refused 412 "is suspended" "Add credit", unchanged

# S30: the customer's own limit counts, whatever the credit.
open      bob mode prepaid credit 0
card      bob visa
limit     bob 5000                       -> limit 5000.00, tier 1   # S34: the tier does not cap it
buy       bob 1000.00
limit     bob 200                        -> limit 200.00, headroom 200.00
spend     bob 200.00                     -> MONTHLY_SPEND_LIMIT_EXCEEDED, credit 800.00

# S31: buying neither raises nor resets it. S32: raising it does.
buy       bob 500.00                     -> MONTHLY_SPEND_LIMIT_EXCEEDED, limit 200.00, credit 1300.00, spent 200.00
limit     bob 300                        -> UNSUSPENDED, headroom 100.00

# S33: raised, but the credit is gone too.
open      cyd mode prepaid credit 0
card      cyd visa
buy       cyd 200.00
limit     cyd 200
spend     cyd 200.00                     -> MONTHLY_SPEND_LIMIT_EXCEEDED CREDIT_DEPLETED
limit     cyd 300                        -> CREDIT_DEPLETED

# At the limit over the month's end.
open      demo mode prepaid credit 5.00
limit     demo 3
spend     demo 3.00                      -> MONTHLY_SPEND_LIMIT_EXCEEDED, credit 2.00

month     2026-03
show      demo                           -> UNSUSPENDED, headroom 2.00
show      ada                            -> no invoice, CREDIT_DEPLETED, documents 1
show      bob                            -> no invoice, spent 0.00, UNSUSPENDED, limit 300.00
show      cyd                            -> no invoice, CREDIT_DEPLETED

# S27: $5 more, and service is back.
buy       ada 5.00                       -> UNSUSPENDED, credit 5.00

# Usage after the fact can leave a prepaid account owing; what is bought pays that first.
usage     ada 7.00                       -> CREDIT_DEPLETED, credit 0.00, owes 2.00
buy       ada 3.00                       -> UNSUSPENDED, credit 1.00, owes 0.00
  -> allocated 2.00 to 2026-04, allocated 1.00 to credit
month     2026-04                        -> no invoice
