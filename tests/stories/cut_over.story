# From the cut-over on new accounts are prepaid; older ones stay postpaid.
# A2, S36

policy prepaid-from 2026-06-01
at 2026-05-31 23:59:59
open      ada                            -> mode postpaid
at        2026-06-01
open      bob                            -> mode prepaid
open      cyd mode postpaid              -> mode postpaid
card      ada visa
spend     ada 3.00                       -> mode postpaid, UNSUSPENDED, owes 2.00
card      bob visa
spend     bob 1.00                       -> CREDIT_DEPLETED, owes 0.00
month     2026-06
show      ada                            -> invoice 2.00 PAID, mode postpaid
show      bob                            -> no invoice
