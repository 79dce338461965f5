"""The outside world: a payment gateway, a carrier and a mail sink, with one durable ledger.

One process, `python -m sandbox`. It stands for companies that we do not run, so it imports none of our
services and keeps its own truth: what the ledger says was charged, was charged, whatever anyone believes.

The gateway and the carrier speak HTTP and JSON. The caller names the resource, and the name is the
idempotency key. Test values choose the outcome, as with real gateways:

| token                    | what happens                                                                |
| ------------------------ | --------------------------------------------------------------------------- |
| `tok_visa`               | charged                                                                     |
| `tok_declined`           | declined: `card_declined`                                                   |
| `tok_insufficient_funds` | declined: `insufficient_funds`                                              |
| `tok_slow`               | charged at once, answered after 2 seconds                                   |
| `tok_flaky`              | charged, but the first answer is lost (503); the second tells the truth     |
| anything else            | declined: `invalid_token`                                                   |

| postcode      | what happens                                                                           |
| ------------- | -------------------------------------------------------------------------------------- |
| `00000`       | refused: `no_service_area`                                                             |
| `99999`       | refused: `oversize`                                                                    |
| `55555`       | booked at once, answered after 2 seconds                                               |
| `44444`       | booked, but the first answer is lost (503); the second tells the truth                 |
| anything else | booked                                                                                 |

| recipient of a mail | what happens                                            |
| ------------------- | ------------------------------------------------------- |
| `bounce@...`        | refused with 550                                        |
| anyone else         | accepted; a message that comes twice is there twice     |
"""
