# Invoices are whole cents, rounded down; what is left over is carried to the next, as is what is too little to charge.
# M4 D1

at 2026-03-01 09:00
open      ada credit 0
card      ada visa
open      bob credit 0
card      bob visa
open      cyd credit 0
card      cyd visa

spend     ada 10.0009
spend     bob 0.40
spend     cyd 0.50
month     2026-03
show      ada                            -> invoice 10.00 PAID, carried-in 0.00, carried-out 0.0009, owes 0.0009
show      bob                            -> invoice 0.00 PAID, carried-out 0.40, due 0.00, owes 0.40, historical 0.00
show      cyd                            -> invoice 0.50 PAID, carried-out 0.00, due 0.50, owes 0.00

spend     ada 5.0098                     # bob uses nothing: no invoice, and what he owes waits
month     2026-04
show      ada                            -> invoice 5.01 PAID, carried-in 0.0009, carried-out 0.0007, due 5.01
show      bob 2026-04                    -> no invoice, owes 0.40, UNSUSPENDED

spend     ada 0.0093
spend     bob 0.10
month     2026-05
show      ada                            -> invoice 0.00 PAID, carried-in 0.0007, carried-out 0.01, due 0.00, owes 0.01
show      bob                            -> invoice 0.50 PAID, carried-in 0.40, carried-out 0.00, due 0.50, number BOB-0002

spend     ada 0.49
month     2026-06
show      ada                            -> invoice 0.50 PAID, carried-in 0.01, carried-out 0.00, owes 0.00, number ADA-0004
  -> historical 15.51, documents 4

# A purchase pays what was carried too.
spend     ada 1.0004
month     2026-07
show      ada                            -> invoice 1.00 PAID, carried-out 0.0004
buy       ada 5.00                       -> owes 0.00, credit 4.9996
  -> allocated 0.0004 to 2026-07, allocated 4.9996 to credit
spend     ada 10.00
month     2026-08
show      ada                            -> invoice 5.00 PAID, carried-in 0.0004, due 5.00, owes 0.0004, number ADA-0007
