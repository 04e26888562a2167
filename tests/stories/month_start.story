# A new month lifts the limit at once, whatever of the old one still waits.
# L4 U4, S14

at 2026-03-31 23:59
prices dear in 0 out 1000 most 100000
open      ada
card      ada visa
limit     ada 3
spend     ada 1.00
ask       r1 ada dear bytes 10 max 1000  -> held 1.00
usage     ada 2.00                       -> MONTHLY_SPEND_LIMIT_EXCEEDED
open      bob mode prepaid credit 9.00   # within his own limit he has no bill at all
limit     bob 2
spend     bob 2.00                       -> MONTHLY_SPEND_LIMIT_EXCEEDED
at        2026-04-01
show      ada                            -> UNSUSPENDED, no invoice, headroom 3.00, held 1.00   # r1 is held of March
show      bob                            -> UNSUSPENDED, headroom 2.00
ask       r2 ada dear bytes 10 max 3000  -> held 3.00, headroom 0.00
void      r2
done      r1 in 10 out 1000              -> invoice 3.00 PAID
