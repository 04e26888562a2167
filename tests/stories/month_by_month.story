# An account's months close one after the other: no later one before the one that still waits for a request.
# D1 H7

at 2026-03-31 23:00
prices dear in 0 out 1000 most 100000
open      ada credit 0
card      ada visa
spend     ada 11.00
ask       r1 ada dear bytes 10 max 5000  -> held 5.00
at        2026-04-02                     -> no invoice
spend     ada 2.00
at        2026-05-02                     -> no invoice
close     2026-04                        -> refused 409 "2026-03 comes first", no invoice
close     2026-03                        -> refused 409 "still running"
done      r1 in 10 out 5000              -> charged 5.00, owes 0.00, historical 18.00, documents 2
show      ada 2026-03                    -> invoice 16.00 PAID, number ADA-0001
show      ada 2026-04                    -> invoice 2.00 PAID, number ADA-0002
close     2026-04                        -> documents 2
