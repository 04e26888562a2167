# What an account with no credit is, by billing mode and payment method: the table of U7, row by row.
# A2 A4 A8 A9 U1 U7

at 2026-03-01 09:00

# Postpaid: suspended without a payment method, from birth and when the last one is removed.
open      ada credit 0                   -> mode postpaid, CREDIT_DEPLETED
card      ada visa_chargeDeclined        -> refused 402 "declined", CREDIT_DEPLETED, unchanged
card      ada visa                       -> UNSUSPENDED, credit 0.00
card      ada mastercard                 -> UNSUSPENDED
uncard    ada                            -> UNSUSPENDED
uncard    ada                            -> CREDIT_DEPLETED, tier 0
card      ada visa                       -> UNSUSPENDED
spend     ada 2.00                       -> owes 2.00
uncard    ada                            -> CREDIT_DEPLETED, owes 2.00, headroom 0.00
grant     ada 1.00                       -> UNSUSPENDED, credit 1.00, owes 2.00, headroom 1.00

# Prepaid: credit is the only way, whatever is on file.
open      bob mode prepaid credit 0      -> mode prepaid, CREDIT_DEPLETED
card      bob visa                       -> CREDIT_DEPLETED
buy       bob 2.00                       -> UNSUSPENDED, credit 2.00
uncard    bob                            -> UNSUSPENDED
spend     bob 2.00                       -> CREDIT_DEPLETED

# Contract: never for credit.
open      acme mode contract credit 0    -> mode contract, UNSUSPENDED
card      acme visa                      -> UNSUSPENDED
uncard    acme                           -> UNSUSPENDED
spend     acme 5.00                      -> UNSUSPENDED, owes 5.00
