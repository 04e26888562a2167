# A new account's dollar: used, gone, and service back with a card.
# A1 A4 A5 U2 U4, S5 S6 S7 S8 S19

at 2026-03-01 09:00
prices tiny in 0.20 out 0.80

# Everybody starts with a dollar of free credit, which is not money received (S19).
open   ada                               -> credit 1.00, historical 0.00, tier 0, limit 50.00, headroom 1.00
  -> UNSUSPENDED, grants 1.00
ask    r1 ada tiny bytes 500 max 1000    -> held 0.000916
show   ada                               -> held 0.000916, headroom 0.999084, credit 1.00
done   r1 in 120 out 120                 -> charged 0.00012, credit 0.99988, held 0.00

# S6: a cent short of the end nothing happens.
open   bob
spend  bob 0.99                          -> UNSUSPENDED, credit 0.01

# S5: at the end the account is suspended, and its next request is told why and what helps.
spend  ada 0.99988                       -> CREDIT_DEPLETED, credit 0.00, owes 0.00
ask    r2 ada tiny bytes 10 max 10       -> refused 412 "is suspended" "credit is used up" "Add a payment method"
  -> unchanged

# S7: a payment method lifts it; usage then accrues.
card   ada visa                          -> UNSUSPENDED, tier 1, owes 0.00
ask    r3 ada tiny bytes 500 max 1000    -> held 0.000916
done   r3 in 580 out 1000                -> owes 0.000916, credit 0.00
spend  ada 30.00                         -> owes 30.000916
month  2026-03                           -> invoice 30.00 PAID, historical 30.00, owes 0.000916

# S8: with a card from the start it is never suspended.
open   cyd
card   cyd visa                          -> tier 1, historical 0.00
spend  cyd 1.50                          -> UNSUSPENDED, credit 0.00, owes 0.50
