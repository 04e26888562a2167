# Tiers follow historical spend, at once: every dollar received counts, free credit does not.
# A11 L1 L2 L4, S15 S16 S19

at 2026-03-01 09:00
open      ada                            -> tier 0, max 50.00
card      ada visa                       -> tier 1, max 50.00
grant     ada 900.00                     -> tier 1, historical 0.00
buy       ada 49.99                      -> tier 1, historical 49.99
buy       ada 1.00                       -> tier 2, historical 50.99, max 500.00, limit 500.00

# S16: $50 exactly is enough. S15: $100 is one tier too.
open      bob
card      bob visa
buy       bob 50.00                      -> tier 2, max 500.00, limit 500.00
open      cyd
card      cyd visa
buy       cyd 100.00                     -> tier 2, max 500.00, credit 101.00
buy       cyd 400.00                     -> tier 3, max 5000.00
buy       cyd 4499.99                    -> tier 3
buy       cyd 1.00                       -> tier 4, max 50000.00
uncard    cyd                            -> tier 4

# L4: a higher tier lifts the limit.
open      demo
card      demo visa
spend     demo 50.00                     -> MONTHLY_SPEND_LIMIT_EXCEEDED, owes 49.00
buy       demo 50.00                     -> UNSUSPENDED, tier 2, headroom 450.00, owes 0.00, credit 1.00

# Paying an invoice counts as well, once.
open      acme
card      acme visa
spend     acme 49.50
month     2026-03                        -> invoice 48.50 PAID, historical 48.50, tier 1
spend     acme 1.50
month     2026-04                        -> invoice 1.50 PAID, historical 50.00, tier 2, limit 500.00

# The operator's word stands above the tiers, and what the customer set still holds.
unlimited acme                           -> tier unlimited, max none, limit none, headroom none
limit     acme 60000                     -> limit 60000.00
unlimited acme no                        -> tier 2, limit 500.00
