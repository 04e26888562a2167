# A request belongs to the month of its admission; the month closes when its last request has ended.
# H7 L3 D1

at 2026-03-31 23:59
prices dear in 0 out 1000 most 100000
open      ada credit 0
card      ada visa
spend     ada 49.00
ask       r1 ada dear bytes 10 max 1000  -> held 1.00, headroom 0.00
at        2026-04-01                     -> no invoice, spent 0.00, headroom 50.00   # r1 is held of March
close     2026-03                        -> refused 409 "still running"
ask       r2 ada dear bytes 10 max 2000  -> held 2.00, headroom 48.00
done      r1 in 10 out 1000              -> charged 1.00, spent 0.00, invoice 50.00 PAID, UNSUSPENDED
done      r2 in 10 out 2000              -> spent 2.00
month     2026-04                        -> invoice 2.00 PAID
  -> line 2026-04 dear input 10 0.00, line 2026-04 dear output 2000 2.00
