# Usage from before the first prices is billed by them: what is reported after the fact always is.
# H7 D6

at 2026-03-10 09:00
prices tiny in 0.20 out 0.80
open      ada credit 0
card      ada visa
usage     ada tiny in 5000000 out 0 on 2026-03-02      -> owes 1.00, spent 1.00
usage     ada tiny in 5000000 out 0 on 2026-02-20      -> owes 2.00, spent 1.00
month     2026-03                                      -> invoice 2.00 PAID, lines 2
  -> line 2026-02 tiny input 5000000 1.00
  -> line 2026-03 tiny input 5000000 1.00
