"""World knowledge about places: countries, airports, time zones, languages and currencies.

Only general knowledge stands here, as a person would have it; nothing about any tool.
"""

from __future__ import annotations

# name | alpha-2 | alpha-3
_COUNTRIES = """
Argentina|AR|ARG
Australia|AU|AUS
Austria|AT|AUT
Belgium|BE|BEL
Brazil|BR|BRA
Bulgaria|BG|BGR
Canada|CA|CAN
Chile|CL|CHL
China|CN|CHN
Colombia|CO|COL
Croatia|HR|HRV
Cyprus|CY|CYP
Czechia|CZ|CZE
Denmark|DK|DNK
Egypt|EG|EGY
Estonia|EE|EST
Finland|FI|FIN
France|FR|FRA
Germany|DE|DEU
Greece|GR|GRC
Hungary|HU|HUN
Iceland|IS|ISL
India|IN|IND
Indonesia|ID|IDN
Ireland|IE|IRL
Israel|IL|ISR
Italy|IT|ITA
Japan|JP|JPN
Kenya|KE|KEN
Latvia|LV|LVA
Lithuania|LT|LTU
Luxembourg|LU|LUX
Malaysia|MY|MYS
Malta|MT|MLT
Mexico|MX|MEX
Morocco|MA|MAR
Netherlands|NL|NLD
New Zealand|NZ|NZL
Nigeria|NG|NGA
Norway|NO|NOR
Peru|PE|PER
Philippines|PH|PHL
Poland|PL|POL
Portugal|PT|PRT
Romania|RO|ROU
Singapore|SG|SGP
Slovakia|SK|SVK
Slovenia|SI|SVN
South Africa|ZA|ZAF
South Korea|KR|KOR
Spain|ES|ESP
Sweden|SE|SWE
Switzerland|CH|CHE
Thailand|TH|THA
Turkey|TR|TUR
Ukraine|UA|UKR
United Kingdom|GB|GBR
United States|US|USA
Vietnam|VN|VNM
"""

# IATA | city | country alpha-2 | latitude | longitude | ICAO
_AIRPORTS = """
LHR|London|GB|51.47|-0.46|EGLL
LGW|London|GB|51.15|-0.19|EGKK
MAN|Manchester|GB|53.35|-2.27|EGCC
EDI|Edinburgh|GB|55.95|-3.37|EGPH
DUB|Dublin|IE|53.42|-6.27|EIDW
CDG|Paris|FR|49.01|2.55|LFPG
ORY|Paris|FR|48.72|2.38|LFPO
NCE|Nice|FR|43.66|7.22|LFMN
LYS|Lyon|FR|45.73|5.08|LFLL
FRA|Frankfurt|DE|50.03|8.57|EDDF
MUC|Munich|DE|48.35|11.79|EDDM
BER|Berlin|DE|52.37|13.50|EDDB
HAM|Hamburg|DE|53.63|9.99|EDDH
DUS|Dusseldorf|DE|51.29|6.77|EDDL
AMS|Amsterdam|NL|52.31|4.76|EHAM
BRU|Brussels|BE|50.90|4.48|EBBR
LUX|Luxembourg|LU|49.63|6.21|ELLX
ZRH|Zurich|CH|47.46|8.55|LSZH
GVA|Geneva|CH|46.24|6.11|LSGG
VIE|Vienna|AT|48.11|16.57|LOWW
PRG|Prague|CZ|50.10|14.26|LKPR
BUD|Budapest|HU|47.44|19.26|LHBP
WAW|Warsaw|PL|52.17|20.97|EPWA
KRK|Krakow|PL|50.08|19.78|EPKK
CPH|Copenhagen|DK|55.62|12.66|EKCH
OSL|Oslo|NO|60.19|11.10|ENGM
BGO|Bergen|NO|60.29|5.22|ENBR
ARN|Stockholm|SE|59.65|17.92|ESSA
GOT|Gothenburg|SE|57.66|12.28|ESGG
HEL|Helsinki|FI|60.32|24.96|EFHK
TLL|Tallinn|EE|59.41|24.83|EETN
RIX|Riga|LV|56.92|23.97|EVRA
VNO|Vilnius|LT|54.63|25.29|EYVI
KEF|Reykjavik|IS|63.99|-22.61|BIKF
LIS|Lisbon|PT|38.78|-9.14|LPPT
OPO|Porto|PT|41.24|-8.68|LPPR
MAD|Madrid|ES|40.47|-3.56|LEMD
BCN|Barcelona|ES|41.30|2.08|LEBL
AGP|Malaga|ES|36.67|-4.50|LEMG
VLC|Valencia|ES|39.49|-0.48|LEVC
FCO|Rome|IT|41.80|12.25|LIRF
MXP|Milan|IT|45.63|8.72|LIMC
VCE|Venice|IT|45.51|12.35|LIPZ
NAP|Naples|IT|40.88|14.29|LIRN
ATH|Athens|GR|37.94|23.94|LGAV
SKG|Thessaloniki|GR|40.52|22.97|LGTS
SOF|Sofia|BG|42.70|23.41|LBSF
OTP|Bucharest|RO|44.57|26.10|LROP
ZAG|Zagreb|HR|45.74|16.07|LDZA
LJU|Ljubljana|SI|46.22|14.46|LJLJ
IST|Istanbul|TR|41.28|28.75|LTFM
AYT|Antalya|TR|36.90|30.80|LTAI
TLV|Tel Aviv|IL|32.01|34.89|LLBG
CAI|Cairo|EG|30.12|31.41|HECA
CMN|Casablanca|MA|33.37|-7.59|GMMN
NBO|Nairobi|KE|-1.32|36.93|HKJK
LOS|Lagos|NG|6.58|3.32|DNMM
JNB|Johannesburg|ZA|-26.14|28.25|FAOR
CPT|Cape Town|ZA|-33.96|18.60|FACT
DXB|Dubai|AE|25.25|55.36|OMDB
DOH|Doha|QA|25.27|51.61|OTHH
DEL|Delhi|IN|28.57|77.10|VIDP
BOM|Mumbai|IN|19.09|72.87|VABB
BLR|Bangalore|IN|13.20|77.71|VOBL
BKK|Bangkok|TH|13.69|100.75|VTBS
HKT|Phuket|TH|8.11|98.32|VTSP
SGN|Ho Chi Minh City|VN|10.82|106.65|VVTS
HAN|Hanoi|VN|21.22|105.81|VVNB
KUL|Kuala Lumpur|MY|2.75|101.71|WMKK
SIN|Singapore|SG|1.35|103.99|WSSS
CGK|Jakarta|ID|-6.13|106.66|WIII
DPS|Denpasar|ID|-8.75|115.17|WADD
MNL|Manila|PH|14.51|121.02|RPLL
HKG|Hong Kong|HK|22.31|113.92|VHHH
TPE|Taipei|TW|25.08|121.23|RCTP
PEK|Beijing|CN|40.08|116.58|ZBAA
PVG|Shanghai|CN|31.14|121.80|ZSPD
CAN|Guangzhou|CN|23.39|113.30|ZGGG
ICN|Seoul|KR|37.46|126.44|RKSI
NRT|Tokyo|JP|35.76|140.39|RJAA
HND|Tokyo|JP|35.55|139.78|RJTT
KIX|Osaka|JP|34.43|135.24|RJBB
CTS|Sapporo|JP|42.78|141.69|RJCC
SYD|Sydney|AU|-33.95|151.18|YSSY
MEL|Melbourne|AU|-37.67|144.84|YMML
BNE|Brisbane|AU|-27.38|153.12|YBBN
PER|Perth|AU|-31.94|115.97|YPPH
ADL|Adelaide|AU|-34.95|138.53|YPAD
AKL|Auckland|NZ|-37.01|174.79|NZAA
CHC|Christchurch|NZ|-43.49|172.53|NZCH
WLG|Wellington|NZ|-41.33|174.81|NZWN
JFK|New York|US|40.64|-73.78|KJFK
EWR|Newark|US|40.69|-74.17|KEWR
BOS|Boston|US|42.36|-71.01|KBOS
IAD|Washington|US|38.94|-77.46|KIAD
PHL|Philadelphia|US|39.87|-75.24|KPHL
ATL|Atlanta|US|33.64|-84.43|KATL
MIA|Miami|US|25.79|-80.29|KMIA
MCO|Orlando|US|28.43|-81.31|KMCO
ORD|Chicago|US|41.98|-87.90|KORD
DTW|Detroit|US|42.21|-83.35|KDTW
MSP|Minneapolis|US|44.88|-93.22|KMSP
DFW|Dallas|US|32.90|-97.04|KDFW
IAH|Houston|US|29.98|-95.34|KIAH
DEN|Denver|US|39.86|-104.67|KDEN
PHX|Phoenix|US|33.43|-112.01|KPHX
LAS|Las Vegas|US|36.08|-115.15|KLAS
LAX|Los Angeles|US|33.94|-118.41|KLAX
SFO|San Francisco|US|37.62|-122.38|KSFO
SAN|San Diego|US|32.73|-117.19|KSAN
SEA|Seattle|US|47.45|-122.31|KSEA
HNL|Honolulu|US|21.32|-157.92|PHNL
ANC|Anchorage|US|61.17|-150.00|PANC
YYZ|Toronto|CA|43.68|-79.63|CYYZ
YUL|Montreal|CA|45.47|-73.74|CYUL
YVR|Vancouver|CA|49.19|-123.18|CYVR
YYC|Calgary|CA|51.11|-114.02|CYYC
MEX|Mexico City|MX|19.44|-99.07|MMMX
CUN|Cancun|MX|21.04|-86.87|MMUN
BOG|Bogota|CO|4.70|-74.15|SKBO
LIM|Lima|PE|-12.02|-77.11|SPJC
SCL|Santiago|CL|-33.39|-70.79|SCEL
EZE|Buenos Aires|AR|-34.82|-58.54|SAEZ
GRU|Sao Paulo|BR|-23.43|-46.47|SBGR
GIG|Rio de Janeiro|BR|-22.81|-43.25|SBGL
"""

_TIME_ZONES = """
Africa/Cairo Africa/Casablanca Africa/Johannesburg Africa/Lagos Africa/Nairobi America/Anchorage
America/Bogota America/Chicago America/Denver America/Halifax America/Lima America/Los_Angeles
America/Mexico_City America/New_York America/Phoenix America/Santiago America/Sao_Paulo
America/Toronto America/Vancouver Asia/Bangkok Asia/Dhaka Asia/Dubai Asia/Hong_Kong Asia/Jakarta
Asia/Karachi Asia/Kathmandu Asia/Kolkata Asia/Manila Asia/Riyadh Asia/Seoul Asia/Shanghai
Asia/Singapore Asia/Taipei Asia/Tehran Asia/Tokyo Atlantic/Azores Atlantic/Reykjavik
Australia/Adelaide Australia/Brisbane Australia/Melbourne Australia/Perth Australia/Sydney
Europe/Amsterdam Europe/Athens Europe/Berlin Europe/Brussels Europe/Budapest Europe/Copenhagen
Europe/Dublin Europe/Helsinki Europe/Istanbul Europe/Lisbon Europe/London Europe/Madrid
Europe/Oslo Europe/Paris Europe/Prague Europe/Rome Europe/Stockholm Europe/Vienna Europe/Warsaw
Europe/Zurich Pacific/Auckland Pacific/Fiji Pacific/Guam Pacific/Honolulu Pacific/Tahiti
"""

# name | two-letter code | three-letter code
_LANGUAGES = """
English|en|eng
French|fr|fra
German|de|deu
Spanish|es|spa
Italian|it|ita
Portuguese|pt|por
Dutch|nl|nld
Danish|da|dan
Swedish|sv|swe
Norwegian|no|nor
Finnish|fi|fin
Polish|pl|pol
Czech|cs|ces
Hungarian|hu|hun
Romanian|ro|ron
Russian|ru|rus
Ukrainian|uk|ukr
Turkish|tr|tur
Indonesian|id|ind
Vietnamese|vi|vie
Japanese|ja|jpn
Korean|ko|kor
"""

# name | code
_CURRENCIES = """
euros|EUR
US dollars|USD
pounds sterling|GBP
Japanese yen|JPY
Swiss francs|CHF
Swedish kronor|SEK
Norwegian kroner|NOK
Danish kroner|DKK
Polish zloty|PLN
Czech koruna|CZK
Hungarian forint|HUF
Canadian dollars|CAD
Australian dollars|AUD
New Zealand dollars|NZD
Mexican pesos|MXN
Brazilian reais|BRL
Indian rupees|INR
Chinese yuan|CNY
South Korean won|KRW
Turkish lira|TRY
South African rand|ZAR
Singapore dollars|SGD
Thai baht|THB
"""


def _rows(table: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(line.split("|")) for line in table.strip().splitlines())


COUNTRIES = _rows(_COUNTRIES)
AIRPORTS = _rows(_AIRPORTS)
LANGUAGES = _rows(_LANGUAGES)
CURRENCIES = _rows(_CURRENCIES)
TIME_ZONES = tuple(
    (zone, zone.rpartition("/")[2].replace("_", " ")) for zone in _TIME_ZONES.split()
)
CITIES = tuple(dict.fromkeys(row[1] for row in AIRPORTS))
