# The month's invoice: usage beyond credit, charged to the card; the limit is a cap, not a fee.
# A5 A6 A11 D1 L1, S1 S11 S12 S18

at 2026-03-01 09:00
prices tiny in 0.20 out 0.80

# S1: $20 of credit, $83 used: $63.
open      ada credit 20.00
unlimited ada                            -> tier unlimited, limit none
card      ada visa
spend     ada 83.00                      -> UNSUSPENDED, credit 0.00, owes 63.00, spent 83.00

# S11: not the $50 limit but what was used.
open      bob
card      bob visa
spend     bob 3.27

# S12: no usage, no invoice.
open      cyd
card      cyd visa

# A6: usage that credit covers is invoiced too, and paid already.
open      demo
spend     demo 0.40                      -> credit 0.60

# A month can be closed by command once it is over, not before.
close     2026-03                        -> refused 409 "has not ended"
month     2026-03
show      ada                            -> invoice 63.00 PAID, due 63.00, subtotal 83.00, credits-applied 20.00
  -> payments-applied 0.00, type POSTPAID_BILLING, number ADA-0001, lines 1, owes 0.00, spent 0.00, historical 63.00
  -> line 2026-03 exact output 83000000000 83.00
show      bob                            -> invoice 2.27 PAID, subtotal 3.27, credits-applied 1.00, historical 2.27
show      cyd                            -> no invoice, historical 0.00, credit 1.00, owes 0.00
show      demo                           -> invoice 0.00 PAID, subtotal 0.40, credits-applied 0.40, due 0.00, credit 0.60
close     2026-03                        -> invoice 0.00 PAID, documents 1

# S18: paid invoices count as spend, without any purchase.
unlimited ada no                         -> tier 2, max 500.00, limit 500.00
