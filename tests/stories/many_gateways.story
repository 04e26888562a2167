# Several gateways share one limit and never exceed it; money that one has set aside comes to another that needs it.
# H2 H8 L4

at 2026-03-01 09:00
prices dear in 0 out 1000 most 100000
open      ada credit 0
card      ada visa
limit     ada 10
gateway   g1
ask       r1 ada dear bytes 10 max 4000  -> held 4.00
gateway   g2
ask       r2 ada dear bytes 10 max 4000  -> held 4.00
gateway   g3
ask       r3 ada dear bytes 10 max 4000 refuse -> refused 402 "$2.00 is left", UNSUSPENDED
ask       r3 ada dear bytes 10 max 4000  -> cap 2000, held 2.00
gateway   g1
ask       r4 ada dear bytes 10 max 1     -> refused 402, UNSUSPENDED
done      r1 in 10 out 1000              -> spent 1.00
ask       r4 ada dear bytes 10 max 3000  -> held 3.00
done      r4 in 10 out 3000              -> spent 4.00
done      r2 in 10 out 9000              -> charged 4.00, clamped 5.00, spent 8.00, UNSUSPENDED

# A gateway that dies takes its running work with it: not billed, and what it held is there again.
crash     g3
show      ada                            -> spent 8.00, held 0.00, headroom 2.00
gateway   g2
ask       r5 ada dear bytes 10 max 2000  -> held 2.00
done      r5 in 10 out 2000              -> spent 10.00, MONTHLY_SPEND_LIMIT_EXCEEDED
month     2026-03                        -> invoice 10.00 PAID
