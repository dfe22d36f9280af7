"""Common English words, for prompts that are generated without a tokenizer.

Only a list; text.py makes texts of it.
"""

from __future__ import annotations

_LIST = """
able about above accept account across action active actor address advice after again agent agree ahead
album alive almost alone along already alter amber among amount anchor angle animal answer apple apply
april apron arena argue arm army around arrive arrow artist aside ask aspect atlas attach author autumn
average avoid awake away baby back badge baker balance ball bamboo banana bank barrel basic basket battle
beach bean bear beauty become bedroom before begin behind believe bell belong below bench beside better
between beyond bicycle bird bitter black blanket blend block blossom blue board boat body bold bone book
border borrow bottle bottom brain branch brave bread break breeze brick bridge brief bright bring brother
brown brush bubble bucket build bundle business busy butter button cabin cactus cake call calm camera camp
canal candle canvas captain carbon card careful carpet carry castle catch cause cedar ceiling center
century certain chain chair chalk change chapter charge chart cheap check cheese cherry chest chicken
choice choose circle citizen city clay clean clear clever climb clock close cloth cloud coach coast coffee
cold collect color column comb common compass concert copper coral corner cotton count country couple
courage cousin cover cradle craft crane cream create cricket crisp cross crowd crown cruise crystal
culture curious current curtain custom cycle daily dance danger dark data dawn deal decide deep deer
define degree delay deliver demand depend desert design desk detail develop diamond dinner direct distant
doctor dolphin door double dozen dragon drama draw dream dress drift drink drive drum dry duck during dust
eager eagle early earth east easy echo edge editor effort egg eight elbow electric elegant eleven embrace
empty energy engine enjoy enough enter entire equal escape evening event every exact example except expert
explain extra eye fabric face factor fair falcon family famous fancy farmer fast father favor feather feed
fence fern ferry fever field fifteen figure film final find finger finish fire first fish flag flame flat
flavor float floor flour flower fluid flute follow food forest forget fork form fortune forward fossil
found fountain four fox frame free fresh friend frog front frost fruit fuel full funny future galaxy
gallery garden garlic gate gather gentle giant gift ginger giraffe girl glad glass globe glory glove goat
gold good grain grand grape grass gravel great green grey ground group grow guard guess guest guide guitar
habit half hammer hand happy harbor hard harvest hat hazel heart heavy height hello helmet herb hero
hidden high hill history hollow home honest honey hope horizon horse hotel hour house human humble hundred
hungry hunter ice idea image imagine inch indeed index inside invite iron island item ivory jacket jar
jelly jewel join joke journey joy judge juice july jump june jungle junior just keep kettle key kind king
kitchen kite knee knife knock know ladder lake lamp land language lantern large last late laugh lawn layer
lazy leader leaf learn leather left lemon lesson letter level library lift light lime linen lion liquid
listen little lively lizard local lock logic long loop loud love lucky lunch machine magic main make mango
manner many maple marble march margin market master match matter meadow meal measure medal meet melody
melon member memory metal method middle midnight mild milk mill mind mineral minute mirror mix model
modern moment monkey month moon morning mother motion motor mountain mouse mouth move much museum music
narrow nation nature near neck needle neighbor nest never new night noble noise normal north notebook
nothing notice novel number nurse oak object ocean october offer office often olive onion only open opera
orange orbit orchard order organ other otter outer oven over owner oxygen paddle page paint pair palace
palm panda panel paper parade parent park part party pass past path patient pattern pause peace peach
pearl pebble pencil people pepper perfect period person phone photo piano picnic picture piece pigeon
pilot pine pink pioneer pitch place plain planet plant plate play please plenty plum pocket poem point
polar polite pond pony poor port possible potato pottery powder power practice present pretty price prime
print private prize problem process proper proud public pull pumpkin pupil purple purpose push puzzle
quarter queen quest quick quiet quilt rabbit radio rail rain raise random range rapid rare raven reach
read ready real reason recipe record red reef region relax remain remember repair reply report rescue rest
result return reward rhythm ribbon rice rich ride right ring ripe rise river road robin rocket roof room
root rope rose rough round route royal ruby rule run rural saddle safe sail salad salmon salt same sample
sand saturn sauce save scale scarf scene school science score scout screen sea search season seat second
secret seed select senior sense series serve seven shade shape share sharp shelf shell shine ship shirt
shoe shop shore short should shoulder show sight signal silent silk silver simple sing sister six sketch
skill sky sleep slice slow small smart smile smooth snow soap social sock soft soil solar solid song soon
sound soup south space spark speak special spice spider spirit spoon sport spring square stable stage
stair stamp star start state station steady steam steel stem step stick still stone stop store storm story
stove street string strong student study style sugar summer sun supper sure surface swan sweet swim swing
symbol system table tail take talent talk tall target taste tea teach team temple ten tent thank theater
there thick thin thing third thread three throw thunder ticket tide tiger timber time tiny title today toe
together tomato tool top torch total touch tower town track trade train travel tree tribe trip trophy
truck true trumpet trust try tulip tune tunnel turn turtle twelve twenty twin type umbrella uncle under
unique unit until upon urban useful usual valley value vanilla velvet verse very vessel video view village
violet violin visit vivid voice volcano vote voyage wagon wait walk wall walnut wander warm wash watch
water wave wealth weather week welcome west whale wheat wheel where whisper white whole wide wild willow
wind window wing winter wise wish wolf wonder wood wool word work world worth wren write yard year yellow
yes yesterday young zebra zero zone
"""

WORDS = _LIST.split()
