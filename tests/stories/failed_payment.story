# The month's charge fails: suspended at once, charged again on days 1, 3, 5 and 7, then uncollectible; the ways back.
# U6, S23 S24

at 2026-03-01 09:00
prices tiny in 0.20 out 0.80
open      ada
card      ada chargeCustomerFail
spend     ada 31.00
month     2026-03                        -> invoice 30.00 FAILED, FAILED_PAYMENTS, owes 30.00, historical 0.00
  -> attempts 1, retry 2026-04-02
ask       r1 ada tiny bytes 10 max 10    -> refused 412 "is suspended" "ADA-0001" "Pay the open invoice", unchanged

# Every retry, on its day.
at        2026-04-02                     -> attempts 2, retry 2026-04-04, FAILED_PAYMENTS
at        2026-04-03 23:59               -> attempts 2
at        2026-04-04                     -> attempts 3, retry 2026-04-06
at        2026-04-06                     -> attempts 4, retry 2026-04-08
at        2026-04-08                     -> attempts 5, retry never, invoice 30.00 FAILED, FAILED_PAYMENTS
at        2026-04-20                     -> attempts 5, retry never, FAILED_PAYMENTS, owes 30.00

# A working card is charged at once, even after the last retry.
card      ada visa                       -> UNSUSPENDED, invoice 30.00 PAID, owes 0.00, historical 30.00

# S24: paid by the customer. Trying by hand, or a card that fails too, takes none of the retries away.
open      bob credit 0
card      bob chargeCustomerFail
spend     bob 20.00
month     2026-04                        -> invoice 20.00 FAILED, retry 2026-05-02
at        2026-05-01 12:00
pay       bob                            -> refused 402 "declined", FAILED_PAYMENTS, retry 2026-05-02
card      bob chargeCustomerFail         -> FAILED_PAYMENTS, retry 2026-05-02
at        2026-05-02                     -> retry 2026-05-04
at        2026-05-04                     -> retry 2026-05-06
at        2026-05-06                     -> retry 2026-05-08
at        2026-05-08                     -> retry never
grant     bob 20.00 purchased            -> UNSUSPENDED, invoice 20.00 PAID, owes 0.00, credit 0.00

# Without any card the charge has failed as well; a card pays it within the second.
open      cyd credit 0
usage     cyd 7.00                       -> CREDIT_DEPLETED, owes 7.00
month     2026-05                        -> FAILED_PAYMENTS CREDIT_DEPLETED, invoice 7.00 FAILED
card      cyd visa                       -> UNSUSPENDED, invoice 7.00 PAID, owes 0.00

# In part is not enough.
open      demo credit 0
card      demo chargeCustomerFail
spend     demo 9.00
month     2026-06                        -> FAILED_PAYMENTS
grant     demo 8.99 purchased            -> FAILED_PAYMENTS, owes 0.01
grant     demo 1.00 purchased            -> UNSUSPENDED, owes 0.00, credit 0.99
