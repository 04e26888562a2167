# Usage reported after the fact is always billed, even past the limit, and once; for a closed month on the next invoice.
# H7 D6 A7

at 2026-03-10 09:00
prices tiny in 0.20 out 0.80
open      ada credit 0
card      ada visa
spend     ada 40.00
usage     ada 20.00 id e1                -> MONTHLY_SPEND_LIMIT_EXCEEDED, spent 60.00, owes 60.00, headroom 0.00
usage     ada 20.00 id e1                -> duplicate, spent 60.00, unchanged
usage     ada 21.00 id e1                -> refused 409 "another body", unchanged
usage     ada mystery in 10 out 10       -> refused 404 "no price", unchanged
usage     ada 1.00 on 2026-03-12         -> refused 400 "future", unchanged

# Without a card it goes beyond the credit, which ends service, and is owed.
open      bob
usage     bob 3.00                       -> CREDIT_DEPLETED, credit 0.00, owes 2.00
open      cyd
card      cyd visa
month     2026-03
show      ada                            -> invoice 60.00 PAID, due 60.00, UNSUSPENDED, historical 60.00, tier 2
show      bob                            -> invoice 2.00 FAILED, FAILED_PAYMENTS CREDIT_DEPLETED
show      cyd                            -> no invoice

# D6: March is closed. What it used is billed in April, as its own line, and counts against March's limit.
usage     ada tiny in 5000000 out 0 on 2026-03-20 -> spent 0.00, owes 1.00, UNSUSPENDED
usage     ada tiny in 10000000 out 0     -> spent 2.00, owes 3.00
usage     cyd tiny in 10000000 out 0 on 2026-03-31 -> spent 0.00, owes 1.00, credit 0.00
month     2026-04
show      ada                            -> invoice 3.00 PAID, lines 2
  -> line 2026-03 tiny input 5000000 1.00
  -> line 2026-04 tiny input 10000000 2.00
show      cyd                            -> invoice 1.00 PAID, credits-applied 1.00, line 2026-03 tiny input 10000000 2.00
