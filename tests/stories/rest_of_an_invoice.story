# A card is charged in whole cents; what is left of an invoice and too little to charge goes on to the next one.
# M4 U6 A7

at 2026-03-01 09:00
open      ada credit 0
open      bob credit 0
open      cyd credit 0
card      cyd chargeCustomerFail
spend     cyd 30.00
usage     ada 30.00
usage     bob 30.00
month     2026-03
show      ada                            -> invoice 30.00 FAILED, FAILED_PAYMENTS CREDIT_DEPLETED

# Less than a cent is nothing that anybody could pay: at once it is not what suspends.
grant     ada 29.995000001 purchased     -> CREDIT_DEPLETED, invoice 30.00 PAID, owes 0.004999999
card      ada visa                       -> UNSUSPENDED, owes 0.004999999, historical 29.995000001
spend     ada 1.00                       -> owes 1.004999999

# Whole cents are charged, and the rest goes on.
grant     bob 20.005 purchased           -> FAILED_PAYMENTS CREDIT_DEPLETED, owes 9.995
card      bob visa                       -> UNSUSPENDED, invoice 30.00 PAID, historical 29.995, owes 0.005
spend     bob 2.00

# Less than is ever charged goes on when it would be charged; until then paying it is the way back.
grant     cyd 29.70 purchased            -> FAILED_PAYMENTS, owes 0.30, invoice 30.00 FAILED
at        2026-04-02                     -> UNSUSPENDED, owes 0.30, invoice 30.00 PAID, historical 29.70
spend     cyd 5.00

month     2026-04
show      ada                            -> invoice 1.00 PAID, carried-in 0.004999999, carried-out 0.004999999, due 1.00
  -> historical 30.995000001, owes 0.004999999
show      bob                            -> invoice 2.00 PAID, carried-in 0.005, carried-out 0.005, due 2.00, owes 0.005
show      cyd                            -> invoice 5.30 FAILED, carried-in 0.30, carried-out 0.00, due 5.30

# A purchase pays what goes on as well, and it is on the next invoice either way.
buy       ada 1.00                       -> owes 0.00, credit 0.995000001
  -> allocated 0.004999999 to 2026-04, allocated 0.995000001 to credit
spend     ada 2.00
month     2026-05
show      ada                            -> invoice 1.00 PAID, carried-in 0.004999999, due 1.00, owes 0.004999999

# By hand, too.
open      demo credit 0
card      demo chargeCustomerFail
spend     demo 4.00
month     2026-06                        -> FAILED_PAYMENTS
grant     demo 3.51 purchased            -> FAILED_PAYMENTS, owes 0.49
pay       demo                           -> UNSUSPENDED, owes 0.49, invoice 4.00 PAID, attempts 1
