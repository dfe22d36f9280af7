"""C-Eval: 52 subjects of Chinese examinations with four choices. The validation split, whose answers are published.

Scored by the likelihoods of the letters as lm-eval's `ceval-valid`. The question for generated answers is the same.
"""

from __future__ import annotations

from loadstone.tasks.multiple_choice import MAX_TOKENS, letter_filter, list_options
from loadstone.tasks.spec import Benchmark, Data, Doc, Generation, Group, Likelihood, Task

# English and Chinese names of the subjects by column of the leaderboard.
# Source: subject_mapping.json of hkust-nlp/ceval.
SUBJECTS = {
    "STEM": {
        "computer_network": "计算机网络",
        "operating_system": "操作系统",
        "computer_architecture": "计算机组成",
        "college_programming": "大学编程",
        "college_physics": "大学物理",
        "college_chemistry": "大学化学",
        "advanced_mathematics": "高等数学",
        "probability_and_statistics": "概率统计",
        "discrete_mathematics": "离散数学",
        "electrical_engineer": "注册电气工程师",
        "metrology_engineer": "注册计量师",
        "high_school_mathematics": "高中数学",
        "high_school_physics": "高中物理",
        "high_school_chemistry": "高中化学",
        "high_school_biology": "高中生物",
        "middle_school_mathematics": "初中数学",
        "middle_school_biology": "初中生物",
        "middle_school_physics": "初中物理",
        "middle_school_chemistry": "初中化学",
        "veterinary_medicine": "兽医学",
    },
    "SocialScience": {
        "college_economics": "大学经济学",
        "business_administration": "工商管理",
        "marxism": "马克思主义基本原理",
        "mao_zedong_thought": "毛泽东思想和中国特色社会主义理论体系概论",
        "education_science": "教育学",
        "teacher_qualification": "教师资格",
        "high_school_politics": "高中政治",
        "high_school_geography": "高中地理",
        "middle_school_politics": "初中政治",
        "middle_school_geography": "初中地理",
    },
    "Humanities": {
        "modern_chinese_history": "近代史纲要",
        "ideological_and_moral_cultivation": "思想道德修养与法律基础",
        "logic": "逻辑学",
        "law": "法学",
        "chinese_language_and_literature": "中国语言文学",
        "art_studies": "艺术学",
        "professional_tour_guide": "导游资格",
        "legal_professional": "法律职业资格",
        "high_school_chinese": "高中语文",
        "high_school_history": "高中历史",
        "middle_school_history": "初中历史",
    },
    "Other": {
        "civil_servant": "公务员",
        "sports_science": "体育学",
        "plant_protection": "植物保护",
        "basic_medicine": "基础医学",
        "clinical_medicine": "临床医学",
        "urban_and_rural_planner": "注册城乡规划师",
        "accountant": "注册会计师",
        "fire_engineer": "注册消防工程师",
        "environmental_impact_assessment_engineer": "环境影响评价工程师",
        "tax_accountant": "税务师",
        "physician": "医师资格",
    },
}
# Name of the group of each column, after `ceval_`.
GROUPS = {"STEM": "stem", "SocialScience": "social_science", "Humanities": "humanities", "Other": "other"}
# C-Eval Hard, arXiv:2305.08322, section 2.3: a further group of subjects that also are in the groups above.
HARD = (
    "advanced_mathematics discrete_mathematics probability_and_statistics college_chemistry college_physics"
    " high_school_mathematics high_school_chemistry high_school_physics"
)


def convert_row(doc: Doc) -> Doc:
    """Convert a line of the original files to the schema of the hub. Only the split `dev` has explanations."""
    texts = {name: str(doc[name]) for name in ("question", "A", "B", "C", "D", "answer")}
    return {"id": int(doc["id"]), **texts, "explanation": str(doc.get("explanation") or "")}


def options(doc: Doc) -> list[str]:
    return [doc[letter] for letter in "ABCD"]


def query(doc: Doc) -> str:
    return f"{doc['question'].strip()}\n{list_options(options(doc))}\n答案："


GENERATION = Generation(
    template="lm-eval ceval-valid, answered in words",
    filters=(letter_filter(options),),
    stop=("</s>",),
    max_tokens=MAX_TOKENS,
    settings={"temperature": 0.0},
)


def build_task(subject: str, chinese: str) -> Task:
    return Task(
        name=f"ceval-valid_{subject}",
        title=f"C-Eval, {subject.replace('_', ' ')} {chinese}",
        version=2.0,
        source="https://arxiv.org/abs/2305.08322",
        data=Data(
            path="ceval/ceval-exam",
            config=subject,
            split="val",
            shots_split="dev",
            files=(f"val/{subject}_val.csv",),
            shots_files=(f"dev/{subject}_dev.csv",),
            convert_row=convert_row,
        ),
        query=query,
        target=lambda doc: doc["answer"],
        choices=lambda _: list("ABCD"),
        gold=lambda doc: ["ABCD".index(doc["answer"])],
        description=f"以下是中国关于{chinese}的单项选择题，请选出其中的正确答案。\n\n",
        shots=5,
        max_shots=5,
        generation=GENERATION,
        likelihood=Likelihood(template="lm-eval ceval-valid", letters=True),
        default="loglikelihood",
    )


def build_group(column: str) -> Group:
    tasks = tuple(f"ceval-valid_{subject}" for subject in SUBJECTS[column])
    name = GROUPS[column]
    return Group(name=f"ceval_{name}", title=f"C-Eval, {name.replace('_', ' ')}", tasks=tasks, column=column)


COLUMNS = tuple(f"ceval_{name}" for name in GROUPS.values())
BENCHMARK = Benchmark(
    name="ceval",
    tasks=tuple(
        build_task(subject, chinese) for subjects in SUBJECTS.values() for subject, chinese in subjects.items()
    ),
    groups=(
        Group(name="ceval", title="C-Eval", tasks=COLUMNS),
        Group(name="ceval-valid", title="C-Eval, by lm-eval's name", tasks=COLUMNS),
        *map(build_group, SUBJECTS),
        Group(name="ceval_hard", title="C-Eval Hard", tasks=tuple(f"ceval-valid_{name}" for name in HARD.split())),
    ),
    licence="CC-BY-NC-SA-4.0",
)
