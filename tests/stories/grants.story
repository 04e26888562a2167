# Credit burns down by earliest expiry, then promotional before purchased, then oldest; what lapses is breakage.
# A3 A11

at 2026-03-01 09:00
open      ada credit 0                   -> CREDIT_DEPLETED, grants none
grant     ada 5.00 expires 2026-04-01    -> UNSUSPENDED
grant     ada 4.00 purchased expires 2026-03-20
grant     ada 3.00
grant     ada 2.00 purchased
grant     ada 1.00 expires 2026-03-20    -> grants 1.00 4.00 5.00 3.00 2.00, credit 15.00, historical 6.00
advance   1 day
grant     ada 0.50                       -> grants 1.00 4.00 5.00 3.00 0.50 2.00
spend     ada 1.50                       -> grants 3.50 5.00 3.00 0.50 2.00
spend     ada 0.50                       -> grants 3.00 5.00 3.00 0.50 2.00, credit 13.50

# A grant in use lapses with what is left of it, once.
at        2026-03-19 23:59:59            -> credit 13.50, breakage 0.00
at        2026-03-20                     -> grants 5.00 3.00 0.50 2.00, breakage 3.00, credit 10.50
advance   1 day                          -> breakage 3.00, credit 10.50
spend     ada 6.00                       -> grants 2.00 0.50 2.00, credit 4.50
at        2026-04-01                     -> grants 2.00 0.50 2.00, breakage 3.00
  -> invoice 0.00 PAID, subtotal 8.00, credits-applied 8.00
spend     ada 4.50                       -> grants none, credit 0.00, CREDIT_DEPLETED

# Lapsing can be what suspends.
open      bob credit 0
grant     bob 5.00 expires 2026-04-10
spend     bob 1.00                       -> credit 4.00, UNSUSPENDED
at        2026-04-10                     -> credit 0.00, breakage 4.00, CREDIT_DEPLETED

# With a card on file it does not: usage goes on and is owed.
open      cyd credit 0
card      cyd visa
grant     cyd 5.00 expires 2026-04-20
spend     cyd 1.00
at        2026-04-20                     -> credit 0.00, breakage 4.00, UNSUSPENDED, owes 0.00
spend     cyd 1.00                       -> owes 1.00

# Nothing can be granted that has lapsed already, or is nothing.
grant     cyd 1.00 expires 2026-04-20    -> refused 400 "future", unchanged
grant     cyd 0.00                       -> refused 400 "above 0", unchanged
