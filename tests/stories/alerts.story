# What a month has cost is told: at 80 % of the limit, at any thresholds, each once a month.
# L7 U5, S37 S38 S42 S43

at 2026-03-01 09:00
prices tiny in 0.20 out 0.80
prices dear in 0 out 1000 most 100000

# S42: a limit of $200, usage of $160: one mail.
open      ada
card      ada visa
buy       ada 50.00                      -> tier 2
limit     ada 200
spend     ada 159.99                     -> alerts none
spend     ada 0.01                       -> alerts 160.00
spend     ada 10.00                      -> alerts 160.00

# A higher limit has a higher 80 %, which is told anew; a lower one says nothing new.
limit     ada 400                        -> alerts 160.00
limit     ada 190                        -> alerts 160.00
limit     ada 400
spend     ada 150.00                     -> alerts 160.00 320.00

# S43: thresholds of $500 and $800 and a limit of $1,000: two mails, as $800 is 80 % of it.
open      bob
card      bob visa
buy       bob 500.00
limit     bob 1000
alert     bob 500 800
spend     bob 499.00                     -> alerts none
spend     bob 1.00                       -> alerts 500.00
spend     bob 300.00                     -> alerts 500.00 800.00
spend     bob 50.00                      -> alerts 500.00 800.00

# What is passed already when it is asked for is told at once; below 0 there is nothing to tell.
alert     bob 500 820 800                -> alerts 500.00 800.00 820.00
alert     bob 0                          -> refused 400 "above 0", unchanged

# Several at one stride, and usage that is reported after the fact.
open      cyd
card      cyd visa
alert     cyd 10 20
usage     cyd 45.00                      -> alerts 10.00 20.00 40.00

# S37, S38: a contract has no limit, so only thresholds are told, and nobody is suspended; credit changes nothing.
open      acme mode contract
alert     acme 100 200
spend     acme 150.00                    -> alerts 100.00, UNSUSPENDED
grant     acme 500.00                    -> alerts 100.00
spend     acme 60.00                     -> alerts 100.00 200.00, UNSUSPENDED

# A forecast is told to who asks for it, once: $20 in ten days, so $50 in 25.
open      dee
card      dee visa
alert     dee forecast
open      eve
card      eve visa
advance   10 days
spend     dee 15.00                      -> alerts none       # the 33rd
spend     dee 5.00                       -> alerts forecast 50.00
spend     dee 1.00                       -> alerts forecast 50.00
spend     dee 19.00                      -> alerts 40.00 forecast 50.00
spend     eve 20.00                      -> alerts none

# What ends after the month, and crosses its line then, is told of that month; the new one begins anew.
at        2026-03-31 23:59
ask       r1 eve dear bytes 10 max 25000 -> held 25.00
month     2026-03
show      eve 2026-03                    -> alerts none
done      r1 in 10 out 25000
show      eve 2026-03                    -> alerts 40.00
show      eve                            -> alerts none, spent 0.00
show      dee                            -> alerts none, spent 0.00
spend     dee 40.00                      -> alerts 40.00
spend     bob 820.00                     -> alerts 500.00 800.00 820.00
