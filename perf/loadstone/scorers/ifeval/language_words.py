"""Frequent short words and typical letters of languages that share a script: the data of `languages`."""

from __future__ import annotations

# Frequent words by script and language (ISO 639-1). The first language of a script is the default.
WORDS: dict[str, dict[str, str]] = {
    "LATIN": {
        "en": (
            "the of and a to in is that for it as with was on are be this by have from or not at you "
            "which but they an his her their all has can will one we there if would more when who so "
            "what your my he she i do how"
        ),
        "es": (
            "de la que el en y los las un por con no una su para es al lo como más pero sus le ya o "
            "este sí porque esta entre cuando muy sin sobre también me hasta hay donde quien desde "
            "todo nos ser son del se"
        ),
        "pt": (
            "de a o que e do da em um para é com não uma os no se na por mais as dos como mas foi ao "
            "ele das tem à seu sua ou ser quando muito há nos já está eu também só pelo pela até isso "
            "ela entre era são você"
        ),
        "fr": (
            "de la le et les des en un du une que est pour qui dans a par plus pas au sur ne se ce il "
            "sont avec son aux cette ses ou mais comme nous vous leur y elle être ces été fait tout l "
            "d qu c n s je"
        ),
        "de": (
            "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es "
            "an werden aus er hat dass sie nach wird bei einer um am sind noch wie einem über einen "
            "so zum haben oder wenn ich"
        ),
        "it": (
            "di e il la che in un a per è una sono con non del si da come le dei nel alla più anche o "
            "della al i lo gli delle ma questo su ha dal cui nella essere se tra loro ogni suo sua "
            "stato hanno l ad ed"
        ),
        "pl": (
            "i w na z do nie się to jest że o a jak po za od co ale tak przez dla czy może są był ze "
            "już tym jego tego oraz lub przy być go które który która ma każdy jej ich także prawo "
            "aby bardzo"
        ),
        "vi": (
            "và của là có được cho trong không một các với những người này khi để đã về cũng từ đó ra "
            "tôi bạn nhiều như hay hoặc mọi đều phải quyền sự vào thì mà đến nào theo bị do ở trên"
        ),
        "sw": (
            "na ya wa kwa ni katika la za kuwa hii yake kila cha au kama si wote haki mtu watu hiyo "
            "yao pia ambao vya lakini sana hayo wake ili bila mimi wewe yeye sisi huu hizi zote "
            "kwamba baada moja siku"
        ),
        "fi": (
            "ja on ei että se oli mutta kun hän olla ovat joka myös tai kuin niin jos ole mukaan sekä "
            "jokaisella sen hänen ne nyt voi vain tämä minä sinä me he kanssa oikeus tämän mitä mikä "
            "jotka hyvin paljon"
        ),
        "nl": (
            "de het een en van is dat op te zijn met voor niet aan er om ook als dan maar bij door "
            "naar heeft uit hij wordt deze ze over die ik je worden of werd kan nog haar hun"
        ),
        "sv": (
            "och att det som en är på för av med till den har de inte om ett han men var jag sig från "
            "vi så kan när eller varje sin skall rätt ska också hon efter vid"
        ),
        "da": (
            "og at det er en til af på de for med ikke den har som der et jeg han men var sig fra vi "
            "kan når eller om enhver sin skal ret hun efter ved også blev"
        ),
        "ro": (
            "și de în a la cu nu este o să pe că din un care se mai pentru sau ca sunt fi prin orice "
            "ce dar lui are al fost după dreptul"
        ),
        "ca": (
            "de la i el que a en per un amb les no una els és del més o com al va dels tot seva seu "
            "aquesta són ha però té dret ser pel"
        ),
        "id": (
            "dan yang di untuk dengan dari ini itu tidak pada dalam adalah akan ke oleh atau sebagai "
            "juga ada saya karena setiap orang hak telah bisa mereka kita dapat anda"
        ),
        "tr": (
            "ve bir bu için ile da de olarak daha çok olan gibi ne var ama en kadar değil her veya "
            "hakkı o ya kendi sonra şey ancak olduğu ben sen"
        ),
        "cs": (
            "a v se na je že o s z do to i ve pro by jako za ale aby od který po jsou nebo má být "
            "není jeho která každý právo však také při"
        ),
        "hu": (
            "a az és hogy nem is egy ez meg van de volt csak mint el ha már minden vagy még azt amely "
            "joga kell valamint lehet senki"
        ),
        "tl": (
            "ang ng sa mga na at ay hindi ito si para kung siya ko o may kanyang lahat isang bawat "
            "tao karapatan pag dapat niya"
        ),
        "et": ("ja on ei et see oma ta kui või ka mis oli ning igal inimesel õigus tema seda selle nii"),
        "hr": ("i je u se na da su za od s kao ili ne pravo svako koji ima to biti nije iz koja sve po"),
        "sl": ("in je v da se na za so ki z ne pri po ali kot do ima pravico vsakdo biti tudi bi sem lahko"),
        "sk": (
            "a v sa na je že o s z do to aj vo pre by ako za ale od ktorý po sú alebo má byť nie každý právo však pri"
        ),
        "lt": ("ir į yra kad su iš ar tai kaip bet jo už apie turi teisę kiekvienas žmogus būti ne savo"),
        "lv": ("un ir uz ar no kas par kā bet tiek vai lai ikvienam cilvēkam tiesības viņa savu nav to"),
        "cy": ("a yn y i o ar yr ei ac eu mae gan am fel hawl bob neu bod wedi hynny nid"),
        "so": ("iyo in uu oo ka ku ah waa qof kasta u la ama wuxuu ay leeyahay ee soo iyada si"),
        "af": ("die van en het in is nie te om wat met vir sy aan elke reg op ook word ons jy hulle"),
    },
    "CYRILLIC": {
        "ru": (
            "и в не на что с по это как он я к но из у за от так же для ты все она было мы вы его бы "
            "о или каждый право быть при если только этого ее их человек имеет ы"
        ),
        "uk": (
            "і в не на що з до та у як за це він я але для його від по ми ви й або кожна людина має "
            "право бути при які якщо також вона їх все її є було бо"
        ),
        "bg": (
            "и на в да се за не от с че са е по но по-често като или при има право всеки човек си той "
            "тя до много това които който върху във със този тази аз ти бъде"
        ),
        "sr": ("и је у се на да су за од са као или не право свако који има то бити није из"),
        "mk": ("и на во да се за не од со дека е по но како или има право секој што ги го тој таа"),
        "be": ("і у не на што з да як за гэта ён я але для яго ад па мы або кожны чалавек мае права"),
    },
    "ARABIC": {
        "ar": (
            "في من على أن إلى التي عن هذا هذه لا ما كل أو مع كان بين الذي لم ذلك لكل شخص حق هو هي و "
            "قد إن بعد عند ثم كما أي له حيث يمكن"
        ),
        "fa": (
            "و در به از که این است را با برای آن یک می هر شود خود تا کرد بر هم نیز یا باید حق کس دارد "
            "شده های ها من اند ما شما بود"
        ),
        "ur": (
            "کے میں کی ہے اور سے کا کو اس نہیں ہیں پر یہ نے کہ ہر جو وہ کسی شخص حق یا ایک بھی تھا آپ گے گا کر لیے تو"
        ),
    },
    "DEVANAGARI": {
        "hi": (
            "के है में की का और से को हैं पर यह नहीं एक किसी भी ने कि जो लिए हो या "
            "था तो इस गया आप कर प्रत्येक व्यक्ति अधिकार वह हम मैं अपने"
        ),
        "mr": (
            "आहे आणि या च्या ते आहेत हा ही व तो तर नाही किंवा असे एक केला त्या हे "
            "मी आम्ही प्रत्येक व्यक्तीला अधिकार त्याच्या होते काही मध्ये पण आपण"
        ),
        "ne": (
            "र को छ छन् हो यो मा का लागि पनि गर्न भएको हुन्छ हुनेछ प्रत्येक "
            "व्यक्तिलाई अधिकार हुने गरेको तथा म हामी तपाईं ले लाई थियो भने वा छैन "
            "यस"
        ),
    },
}
# Letters that are evidence for a language among those of its script.
LETTERS = {
    "pl": "łąęśżźćń",
    "de": "ßäöü",
    "es": "ñ¿¡",
    "pt": "ãõ",
    "vi": "ăđơưạảấầẩậắằặẹẻẽếềểệỉịọỏốồổộớờởợụủứừửựỳỵỷỹ",
    "fr": "èêàçùœ",
    "fi": "äö",
    "sv": "åäö",
    "da": "æøå",
    "ro": "țșăî",
    "cs": "řůěčšž",
    "hu": "őű",
    "tr": "ğışç",
    "et": "õäöü",
    "ca": "·",
    "lt": "ąčęėįšųūž",
    "lv": "āčēģīķļņšūž",
    "sl": "čšž",
    "sk": "áäčďéíĺľňóôŕšťúýž",
    "uk": "іїєґ",
    "ru": "ыэё",
    "be": "ўыэё",
    "bg": "ъ",
    "sr": "ћђљњџј",
    "mk": "ѓќѕљњџј",
    "ar": "ةىأإ",
    "fa": "پچژگی",
    "ur": "ٹڈڑںےہ",
    "mr": "ळ",
    "hr": "čćžšđ",
}
# Letters that are evidence against it.
FOREIGN = {
    "ru": "іїєґў",
    "uk": "ыэёъў",
    "bg": "ыэёіїє",
    "fa": "ٹڈڑںے",
    "ar": "پچژگٹڈڑںےی",
    "be": "иъ",
    "da": "ä",
    "sr": "ыйъэщ",
    "mk": "ыйъэщ",
    "en": "ãõłßñ",
    "pl": "ųūėįāē",
    "fr": "āēŵŷ",
    "es": "àèŵ",
    "it": "āēîûŵ",
}
