# A new price is a new version: what was admitted before keeps its own, and the invoice shows both.
# P1 H1 D1 D2

at 2026-03-01 09:00
prices tiny in 0.20 out 0.80
open      ada credit 0
card      ada visa
ask       r1 ada tiny bytes 900000 max 4000
done      r1 in 1000 out 2000            -> charged 0.0018
usage     ada tiny in 5000000 out 1000000

prices    tiny in 0.40 out 0.80 from 2026-03-15
ask       r2 ada tiny bytes 500 max 1000 -> held 0.000916
at        2026-03-15
ask       r3 ada tiny bytes 500 max 1000 -> held 0.001032
done      r2 in 500 out 1000             -> charged 0.0009
done      r3 in 500 out 1000             -> charged 0.001

# After the fact, the price is the one of the time it happened at.
usage     ada tiny in 1000000 out 0 on 2026-03-14
usage     ada tiny in 1000000 out 0 on 2026-03-15
prices    tiny in 0.10 out 0.80 from 2026-03-10 -> refused 400 "past", unchanged

month     2026-03                        -> invoice 2.40 PAID, lines 3, carried-out 0.0037
  -> line 2026-03 tiny input 6001500 1.2003
  -> line 2026-03 tiny input 1000500 0.4002
  -> line 2026-03 tiny output 1004000 0.8032
