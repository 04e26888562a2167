# Credit bought pays what is owed first, at once: invoices oldest first, then unbilled usage; the rest is credit.
# A7 A11 D3, S2 S3 S4

at 2026-03-01 09:00

# S2: $750 owed, $500 bought.
open      ada credit 0
unlimited ada
card      ada visa
spend     ada 750.00                     -> owes 750.00
buy       ada 500.00                     -> owes 250.00, credit 0.00, allocated 500.00 to 2026-03, historical 500.00
  -> receipts 1, receipt 500.00

# S3: $300 owed.
open      bob credit 0
unlimited bob
card      bob visa
spend     bob 300.00                     -> owes 300.00
buy       bob 500.00                     -> owes 0.00, credit 200.00, receipt 500.00
  -> allocated 300.00 to 2026-03, allocated 200.00 to credit

# S4: exactly what is owed.
open      cyd credit 0
unlimited cyd
card      cyd visa
spend     cyd 500.00
buy       cyd 500.00                     -> owes 0.00, credit 0.00, allocated 500.00 to 2026-03

# What was paid meanwhile stands on the month's invoice, after the receipt's number.
month     2026-03
show      ada                            -> invoice 750.00 PAID, payments-applied 500.00, due 250.00, number ADA-0002
  -> historical 750.00, documents 2
show      bob                            -> invoice 300.00 PAID, payments-applied 300.00, due 0.00, credit 200.00
  -> historical 500.00
show      cyd                            -> invoice 500.00 PAID, payments-applied 500.00, due 0.00

# What cannot be bought.
open      demo
buy       demo 10.00                     -> refused 409 "add a payment method", unchanged
card      demo chargeCustomerFail
buy       demo 10.00                     -> refused 402 "declined", unchanged, receipts 0
buy       demo 0.99                      -> refused 400 "from 1.00", unchanged
buy       demo 10.001                    -> refused 400 "whole cents", unchanged
