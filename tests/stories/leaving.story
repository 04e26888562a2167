# An account is closed: what stands in the way is listed, the final invoice is made and charged, nothing new begins.
# A10 M4, S79

at 2026-03-01 09:00
prices tiny in 0.20 out 0.80

# A clean account: the gift lapses, and there is nothing to invoice.
open      ada
leave     ada                            -> state DELETING, closed yes, credit 0.00, breakage 1.00, documents 0
leave     ada                            -> state DELETING, closed yes
spend     ada 0.01                       -> refused 412 "is suspended", unchanged
usage     ada 1.00                       -> refused 409 "was closed at 2026-03-01T09:00:00Z", unchanged
grant     ada 5.00                       -> refused 409 "was closed", unchanged
mode      ada contract                   -> refused 409 "was closed", unchanged
return    ada                            -> state READY, closed no, credit 0.00, CREDIT_DEPLETED
grant     ada 2.00                       -> UNSUSPENDED
spend     ada 1.00                       -> credit 1.00

# Used on account: the final invoice is charged to the card before the month's end, to the cent.
open      bob
card      bob visa
spend     bob 3.129                      -> owes 2.129
leave     bob                            -> state DELETING, invoice 2.12 PAID, breakage 0.00
advance   1 minutes
show      bob                            -> closed yes
spend     bob 0.01                       -> refused 503 "has just been closed", unchanged
return    bob                            -> refused 409 "from 2026-04-01T00:00:00Z on", unchanged

# Purchased credit is not taken by accident.
open      cyd credit 0
card      cyd visa
buy       cyd 10.00
leave     cyd                            -> refused 409 "$10.00 of credit that was bought is left", unchanged
leave     cyd give-up                    -> closed yes, credit 0.00, breakage 10.00

# What runs ends first.
open      dan
card      dan visa
ask       r1 dan tiny bytes 500 max 1000
leave     dan                            -> refused 409 "requests that run", unchanged
done      r1 in 120 out 120
leave     dan                            -> closed yes, invoice 0.00 PAID

# All at once: a card that fails, an invoice that is unpaid, credit bought.
open      eve credit 0
card      eve chargeCustomerFail
spend     eve 4.00

month     2026-03
show      eve                            -> FAILED_PAYMENTS, invoice 4.00 FAILED
leave     eve                            -> refused 409 "invoice EVE-0001: $4.00 is to be paid", unchanged
usage     eve 6.00
uncard    eve
leave     eve                            -> refused 409 "$6.00 is owed and will be invoiced", unchanged
card      eve visa                       -> invoice 4.00 PAID
leave     eve                            -> state DELETING, invoice 6.00 PAID, owes 0.00
advance   1 minutes
show      eve                            -> closed yes

# In the next month the account may come back, without what has lapsed; after it no more.
return    bob                            -> state READY, UNSUSPENDED
spend     bob 1.00                       -> owes 1.009
show      ada                            -> state READY
at        2026-05-01
return    cyd                            -> refused 409 "could be opened again until 2026-05-01T00:00:00Z", unchanged

# A little that was carried from month to month is charged in the end.
open      fay credit 0
card      fay visa
spend     fay 0.30
month     2026-05
show      fay                            -> invoice 0.00 PAID, carried-out 0.30, owes 0.30
leave     fay                            -> state DELETING, invoice 0.30 PAID, owes 0.00
advance   1 minutes
show      fay                            -> closed yes
