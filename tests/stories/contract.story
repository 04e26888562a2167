# A contract account is never suspended for money; it is invoiced on terms.
# A2 A9 L3, S37 S38

at 2026-03-01 09:00
open      acme mode contract credit 0    -> limit none, headroom none
spend     acme 60000.00                  -> UNSUSPENDED, owes 60000.00, spent 60000.00

# S38: credit changes what is owed, not what was spent.
grant     acme 100.00 purchased          -> spent 60000.00, owes 59900.00, UNSUSPENDED
grant     acme 50.00                     -> spent 60000.00, credit 50.00
card      acme visa
spend     acme 50.00                     -> credit 0.00, owes 59900.00

# Not charged at the month's end, nor by a new card, though one is on file: it has its terms.
month     2026-03                        -> invoice 60000.00 ISSUED, type CONTRACTED, due 59900.00, retry never
  -> subtotal 60050.00, credits-applied 50.00, payments-applied 100.00, UNSUSPENDED
card      acme mastercard                -> invoice 60000.00 ISSUED, paid 0.00
at        2026-05-15                     -> invoice 60000.00 ISSUED, UNSUSPENDED
pay       acme                           -> invoice 60000.00 PAID, owes 0.00, historical 60000.00

# An operator can still block it.
suspend   acme "fraud"                   -> BLOCKED_BY_ABUSE_RULE
reinstate acme                           -> UNSUSPENDED
